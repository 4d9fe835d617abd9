"""Stage `video_latents`: the clip's own frames through a video autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, model_validator

from schemas import LatentsRecord, Record
from stages.latents.base import LatentStage
from stages.latents.config import LatentsConfig
from stages.latents.fit import Fit, fit_window
from stages.latents.layout import Uneven, segmented, whole
from stages.latents.writer import LatentWriter
from wanprep.media.geometry import Size
from wanprep.media.window import Window
from wanprep.stage import ClipContext, Fold, FrameStage, Media, Skipped, StageConfig


class VideoLatentsConfig(LatentsConfig):
    """How a clip's frames become latents."""

    fit: Fit = Field(
        default="cover",
        description="How frames come to the size: cover cuts off what sticks out, letterbox adds black, stretch "
        "changes the aspect.",
    )
    uneven: Uneven = Field(
        default="skip",
        description="A clip that is not 4n+1 frames long, or does not fill its segments: skip it with a reason, "
        "repeat its last frame, or trim: leave out its last frames (or its last, incomplete segment).",
    )
    segment_frames: int | None = Field(
        default=None,
        ge=1,
        description="Code the clip in segments of this many frames (4n+1), each on its own as Wan2.2-Animate is "
        "trained on them (77 frames): latents of a part of a clip are not a part of the clip's latents. none: whole.",
    )
    segment_overlap: int = Field(
        default=1,
        ge=0,
        description="Frames that each segment shares with the one before; Animate takes 1 or 5.",
    )

    @model_validator(mode="after")
    def _segments_fit(self) -> VideoLatentsConfig:
        if self.segment_frames is not None:
            if self.segment_frames % 4 != 1:
                raise ValueError(f"segment_frames {self.segment_frames} is not 4n+1")
            if self.segment_overlap >= self.segment_frames:
                raise ValueError("segment_overlap must be below segment_frames")
        return self


class VideoLatents(LatentStage[VideoLatentsConfig], FrameStage[VideoLatentsConfig]):
    """Latents of the clip's frames; what does not fill a latent frame is skipped, repeated or cut, as configured."""

    name: ClassVar[str] = "video_latents"
    version: ClassVar[int] = 1
    record: ClassVar[type[Record]] = LatentsRecord
    Config: ClassVar[type[StageConfig]] = VideoLatentsConfig
    reads: ClassVar[frozenset[Media]] = frozenset({Media.VIDEO})

    def begin(self, context: ClipContext, inputs: Mapping[str, Record]) -> Fold:
        config, clip = self.config, context.clip
        if config.segment_frames is None:
            layout = whole(clip.frames, config.uneven)
        else:
            layout = segmented(clip.frames, config.segment_frames, config.segment_overlap, config.uneven)
        if isinstance(layout, Skipped):
            return _SkippedFold(layout)
        size = config.size.of(clip.width or 0, clip.height or 0, self.multiple)
        return LatentFold(LatentWriter(self.coder, config, layout, size, context), size, config.fit)


class LatentFold:
    """Latents over one clip; windows may be cut anywhere."""

    def __init__(self, writer: LatentWriter, size: Size, fit: Fit) -> None:
        self._writer = writer
        self._size = size
        self._fit = fit

    def add(self, window: Window) -> None:
        self._writer.add(fit_window(window, self._size, self._fit))

    def finish(self, inputs: Mapping[str, Record]) -> LatentsRecord:
        return self._writer.finish(view="video", fit=self._fit)


class _SkippedFold:
    def __init__(self, skipped: Skipped) -> None:
        self._skipped = skipped

    def add(self, window: Window) -> None:
        """Nothing is made of this clip: its frames are not even converted."""

    def finish(self, inputs: Mapping[str, Record]) -> Skipped:
        return self._skipped

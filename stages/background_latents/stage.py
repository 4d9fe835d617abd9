"""Stage `background_latents`: the driving video with black where the person is replaced, segment by segment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from schemas import LatentsRecord, Record, ReplaceMaskRecord
from stages.latents.animate import SegmentsConfig, SegmentWriter
from stages.latents.base import LatentStage
from wanprep.animate.replacement_ground import ground_THWC, video_at_size_THWC
from wanprep.errors import UsageError
from wanprep.media.window import Window
from wanprep.stage import ClipContext, FrameStage, Media, Resources, StageConfig

_PICTURES = 150 << 20  # bytes: a window of 1080p in full size, and twice at the size that is coded


class BackgroundLatentsConfig(SegmentsConfig):
    """How the background becomes latents. Its size is that of `replace_mask`."""

    carried: Literal["video", "background"] = Field(
        default="video",
        description="What the frames show that a segment carries over from the one before: the video with the person, "
        "as in training on the video itself, or the background. When generating they are the generator's own, and "
        "only the first segment can be made before.",
    )


class BackgroundLatents(LatentStage[BackgroundLatentsConfig], FrameStage[BackgroundLatentsConfig]):
    """Latents of what replacement keeps of each segment of the video."""

    name: ClassVar[str] = "background_latents"
    version: ClassVar[int] = 1
    record: ClassVar[type[Record]] = LatentsRecord
    Config: ClassVar[type[StageConfig]] = BackgroundLatentsConfig
    reads: ClassVar[frozenset[Media]] = frozenset({Media.VIDEO})
    needs: ClassVar[tuple[str, ...]] = ("replace_mask",)

    @property
    def resources(self) -> Resources:  # type: ignore[override]
        coder = super().resources
        return replace(coder, memory=coder.memory + _PICTURES)

    def begin(self, context: ClipContext, inputs: Mapping[str, Record]) -> BackgroundFold:
        mask = inputs["replace_mask"]
        assert isinstance(mask, ReplaceMaskRecord)
        multiple = self.multiple
        if mask.width % multiple or mask.height % multiple:
            raise UsageError(
                f"background_latents: this autoencoder takes multiples of {multiple} pixels and replace_mask is "
                f"{mask.width}x{mask.height}; take one of 16 channels, or give replace_mask.size.width and height"
            )
        writer = SegmentWriter(self.coder, self.config, mask.frames, (mask.width, mask.height), context)
        return BackgroundFold(writer, mask, self.config.carried)


class BackgroundFold:
    """Backgrounds of one clip; windows may be cut anywhere."""

    def __init__(
        self, writer: SegmentWriter, mask: ReplaceMaskRecord, carried: Literal["video", "background"]
    ) -> None:
        self._writer = writer
        self._mask = mask
        self._carried = carried

    def add(self, window: Window) -> None:
        video_THWC = video_at_size_THWC(window, (self._mask.width, self._mask.height))
        ground = ground_THWC(video_THWC, self._mask.masks_THW(window.start, window.start + len(window)))
        carried_THWC = video_THWC if self._carried == "video" else ground
        self._writer.add(ground, carried_THWC)

    def finish(self, inputs: Mapping[str, Record]) -> LatentsRecord:
        return self._writer.finish(view="background", fit="letterbox")

"""Codes a clip's poses, clip by clip of the generator, at the size of the reference latents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from schemas import LatentsRecord, Record, SkeletonRecord
from stages.latents.base import LatentStage
from stages.latents.config import EncoderConfig
from stages.latents.layout import Layout
from stages.latents.writer import LatentWriter
from stages.person.poses import PointsKind
from stages.s2v_pose_latents.fit import Floats, fit_pose
from stages.s2v_pose_latents.pictures import skeleton_pictures, video_pictures
from wanprep.animate.compat import Compat
from wanprep.errors import UsageError
from wanprep.media.geometry import Size
from wanprep.media.image import RGB, short_side_size
from wanprep.media.speech_frames import FRAMES_PER_CLIP, VIDEO_RATE
from wanprep.stage import ClipContext, Media, Resources, Skipped, Stage, StageConfig

_BATCH = 4  # pictures coded at a time: a latent frame
_PICTURES = 150 << 20  # bytes: a window of 1080p in full size, and a few pictures in float32


class S2VPoseLatentsConfig(EncoderConfig):
    """Where poses come from, and how they become latents."""

    source: Literal["video", "skeleton"] = Field(
        default="video",
        description="video: the clip's video, which shows a skeleton already, as Wan2.2-S2V's official script takes "
        "it; skeleton: the stage skeleton's points of the video, drawn here.",
    )
    compat: Compat = Field(
        default="robust",
        description="How the poses come to 16 frames a second. robust: by time. official: every n-th frame, so that "
        "motion of 30 frames a second plays at 1.07 and of 24 at 1.33 times its speed; and a drawn skeleton is drawn "
        "at the video's size and then scaled, which blurs its lines.",
    )
    frames_per_clip: int = Field(
        default=FRAMES_PER_CLIP,
        ge=8,
        le=120,
        multiple_of=4,
        description="Frames that the generator makes at a time, which are coded together; it must be run with the "
        "same number. Wan2.2-S2V is meant for 80 and for 48.",
    )
    points: PointsKind = Field(
        default="smooth",
        description="For source skeleton, which points: smoothed over time and filled in over short gaps, or as "
        "measured.",
    )


class S2VPoseLatents(LatentStage[S2VPoseLatentsConfig], Stage[S2VPoseLatentsConfig]):
    """Latents of pose pictures at the size of `reference_latents`; a clip without video or reference is skipped.

    Each segment is a copy of its first picture and `frames_per_clip` pictures: what the generator takes is all but its
    first latent frame. Where the video ends within a segment, black pictures fill it.
    """

    name: ClassVar[str] = "s2v_pose_latents"
    version: ClassVar[int] = 1
    record: ClassVar[type[Record]] = LatentsRecord
    Config: ClassVar[type[StageConfig]] = S2VPoseLatentsConfig

    @property
    def reads(self) -> frozenset[Media]:  # type: ignore[override]
        return frozenset({Media.VIDEO} if self.config.source == "video" else ())

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The size is the reference latents', so that the two cannot differ."""
        return ("reference_latents", *(("skeleton",) if self.config.source == "skeleton" else ()))

    @property
    def resources(self) -> Resources:  # type: ignore[override]
        coder = super().resources
        return replace(coder, memory=coder.memory + _PICTURES)

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> LatentsRecord | Skipped:
        reference = inputs["reference_latents"]
        assert isinstance(reference, LatentsRecord)
        if not context.clip.frames or "video" not in context.media:
            return Skipped("the clip has no video whose poses could be coded", 0.0)
        size = self._size(reference)
        count, pictures = self._pictures(context, inputs, size)
        length = self.config.frames_per_clip
        segments = -(-count // length)
        starts = tuple(index * length for index in range(segments))
        # Copies of first pictures are given like any others.
        layout = Layout(length + 1, 0, starts, segments * (length + 1), 0, 0)
        writer = LatentWriter(self.coder, self.config, layout, size, context)
        fitted = (fit_pose(picture_HWC, size) for picture_HWC in pictures)
        filled = _filled(fitted, length, segments, size)
        while batch := list(islice(filled, _BATCH)):
            writer.add(np.stack(batch))
        record = writer.finish(view="pose", fit="s2v")
        return replace(record, frames=count, frames_repeated=segments * length - count)

    def _size(self, reference: LatentsRecord) -> Size:
        width, height = reference.width, reference.height
        if width % self.multiple or height % self.multiple:
            raise UsageError(
                f"{self.name}: this autoencoder takes multiples of {self.multiple} pixels and reference_latents are of "
                f"{width}x{height}: give both stages the same backend and model"
            )
        return width, height

    def _pictures(
        self, context: ClipContext, inputs: Mapping[str, Record], size: Size
    ) -> tuple[int, Iterator[RGB]]:
        config = self.config
        if config.source == "video":
            return video_pictures(context, config.compat)
        skeleton = inputs["skeleton"]
        assert isinstance(skeleton, SkeletonRecord)
        drawn = short_side_size(skeleton.width, skeleton.height, min(size))
        fps = context.clip.fps or VIDEO_RATE
        return skeleton_pictures(skeleton, fps, drawn, config.points, config.compat)


def _filled(pictures: Iterator[Floats], length: int, segments: int, size: Size) -> Iterator[Floats]:
    """All segments' pictures: of each a copy of its first one before the others, black ones after the last one."""
    black_HWC = np.full((size[1], size[0], 3), -1, np.float32)
    for _ in range(segments):
        for index in range(length):
            picture_HWC = next(pictures, black_HWC)
            if index == 0:
                yield picture_HWC
            yield picture_HWC

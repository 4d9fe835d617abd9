"""Draws a clip's skeleton at the size and on the canvas that a mode of Wan2.2-Animate wants, and codes its segments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from schemas import LatentsRecord, Record, RetargetRecord, SkeletonRecord
from stages.latents.animate import SegmentsConfig, SegmentWriter
from stages.latents.base import LatentStage
from stages.person.poses import PointsKind
from stages.pose_latents.pictures import retargeted_pictures, skeleton_pictures
from stages.size import SizeConfig
from wanprep.animate.compat import Compat
from wanprep.animate.segments import segments
from wanprep.errors import UsageError
from wanprep.media.geometry import Size
from wanprep.media.image import RGB, read_image
from wanprep.stage import ClipContext, Media, Skipped, Stage, StageConfig

_BATCH = 4  # pictures coded at a time: a latent frame


class PoseLatentsConfig(SegmentsConfig):
    """Which skeleton is drawn, how large, and how it is coded."""

    mode: Literal["animate", "retarget", "replace"] = Field(
        default="animate",
        description="animate: the driving person's skeleton, letterboxed to the reference picture's size; retarget: "
        "what the stage retarget has made, on its canvas; replace: the driving person's, in the video's own aspect.",
    )
    compat: Compat = Field(
        default="robust",
        description="For animate and replace (retarget has its own). official, for animate: the picture is drawn at "
        "the video's size and then scaled, which blurs its lines; and a first frame without a person is a failure. "
        "For all modes: a clip of no more frames than segment_overlap is a failure.",
    )
    points: PointsKind = Field(
        default="smooth",
        description="For animate and replace, which of the skeleton's points: smoothed over time and filled in over "
        "short gaps (skeleton.smooth_sigma and fill_gaps); or as measured, as the official preprocessing takes them.",
    )
    size: SizeConfig = Field(
        default=SizeConfig(),
        description="For animate, from the reference picture's own size, and replace, from the video's.",
    )


class PoseLatents(LatentStage[PoseLatentsConfig], Stage[PoseLatentsConfig]):
    """Latents of the skeleton pictures, segment by segment; animate skips a clip without a reference picture."""

    name: ClassVar[str] = "pose_latents"
    version: ClassVar[int] = 1
    record: ClassVar[type[Record]] = LatentsRecord
    Config: ClassVar[type[StageConfig]] = PoseLatentsConfig

    @property
    def reads(self) -> frozenset[Media]:  # type: ignore[override]
        """The reference, whose size decides, in animate alone; what else matters is in the stages before."""
        return frozenset({Media.REFERENCE} if self.config.mode == "animate" else ())

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("retarget",) if self.config.mode == "retarget" else ("skeleton",)

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> LatentsRecord | Skipped:
        config = self.config
        record = inputs[self.needs[0]]
        assert isinstance(record, SkeletonRecord | RetargetRecord)
        size = self._size(context, record)
        if isinstance(size, Skipped):
            return size
        segments(record.frames, config.segment_frames, config.segment_overlap, config.compat)  # may refuse
        writer = SegmentWriter(self.coder, config, record.frames, size, context)
        pictures = self._pictures(record, size)
        while batch := list(islice(pictures, _BATCH)):
            writer.add(np.stack(batch))
        return writer.finish(view="pose", fit="retarget" if config.mode == "retarget" else "letterbox")

    def _size(self, context: ClipContext, record: SkeletonRecord | RetargetRecord) -> Size | Skipped:
        width, height = record.width, record.height
        if isinstance(record, RetargetRecord):
            if width % self.multiple or height % self.multiple:
                raise UsageError(
                    f"the retargeted skeleton is {width}x{height}: this autoencoder takes multiples of "
                    f"{self.multiple}; give retarget.size a width and a height"
                )
            return width, height
        if self.config.mode == "animate":
            reference = context.clip.reference
            if reference is None:
                return Skipped("the clip has no reference picture, whose size mode=animate takes", 0.0)
            height, width = read_image(reference).shape[:2]
        return self.config.size.of(width, height, self.multiple)

    def _pictures(self, record: SkeletonRecord | RetargetRecord, size: Size) -> Iterator[RGB]:
        if isinstance(record, RetargetRecord):
            return retargeted_pictures(record)
        config = self.config
        # In replacement the official code scales the frame before it looks for the person.
        drawn: Compat = "robust" if config.mode == "replace" else config.compat
        return skeleton_pictures(record, size, config.points, config.compat, drawn)

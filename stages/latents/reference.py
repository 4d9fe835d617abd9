"""Stage `reference_latents`: the reference picture through a video autoencoder, as one latent frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from schemas import LatentsRecord, Record
from stages.latents.base import LatentStage
from stages.latents.config import LatentsConfig
from stages.latents.fit import PictureFit, fit_picture
from stages.latents.layout import Layout
from stages.latents.writer import LatentWriter
from wanprep.media.image import read_image
from wanprep.stage import ClipContext, Media, Skipped, Stage, StageConfig

_ONE_PICTURE = Layout(segment_frames=1, overlap=0, starts=(0,), used=1, repeated=0, left_out=0)


class ReferenceLatentsConfig(LatentsConfig):
    """How the reference picture becomes a latent frame."""

    fit: PictureFit = Field(
        default="letterbox",
        description="How the picture comes to the size: letterbox (black beside it) as Wan2.2-Animate's official "
        "code, s2v (the middle cut out) as Wan2.2-S2V's; cover and stretch.",
    )
    size_of: Literal["reference", "video"] = Field(
        default="reference",
        description="Whose aspect decides the size: the reference's (animation, S2V), or the driving video's "
        "(replacement).",
    )


class ReferenceLatents(LatentStage[ReferenceLatentsConfig], Stage[ReferenceLatentsConfig]):
    """The latent frame of the clip's reference picture; a clip without one is skipped."""

    name: ClassVar[str] = "reference_latents"
    version: ClassVar[int] = 1
    record: ClassVar[type[Record]] = LatentsRecord
    Config: ClassVar[type[StageConfig]] = ReferenceLatentsConfig

    @property
    def reads(self) -> frozenset[Media]:  # type: ignore[override]
        of_video = {Media.VIDEO} if self.config.size_of == "video" else set()
        return frozenset({Media.REFERENCE, *of_video})

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> LatentsRecord | Skipped:
        clip = context.clip
        if clip.reference is None:
            return Skipped("the clip has no reference picture", 0.0)
        if self.config.size_of == "video" and not clip.width:
            return Skipped("the clip has no video whose size the reference could take", 0.0)
        rgb_HWC = read_image(clip.reference)
        height, width = rgb_HWC.shape[:2]
        if self.config.size_of == "video":
            width, height = clip.width or 0, clip.height or 0
        size = self.config.size.of(width, height, self.multiple)
        writer = LatentWriter(self.coder, self.config, _ONE_PICTURE, size, context)
        writer.add(fit_picture(rgb_HWC, size, self.config.fit)[None])
        return writer.finish(view="reference", fit=self.config.fit)

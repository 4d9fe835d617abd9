"""Stage `image_embed`: the reference picture through CLIP's image tower, as Wan2.2-Animate takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from schemas import Record
from schemas.image_embed import ImageEmbedRecord
from schemas.tensor import Tensor, numpy_dtype
from stages.image_embed.checkpoint import PARTS, tower_digest
from stages.image_embed.encoder import HIDDEN_LAYER, ImageTower
from stages.image_embed.pixels import centre_cropped_CHW, stretched_CHW
from stages.size import SizeConfig
from wanprep.media.image import RGB, letterbox, read_image
from wanprep.models.device import Device, Precision, check_extra, torch_device, torch_dtype
from wanprep.models.field import model_field
from wanprep.models.resolve import find, missing, resolve
from wanprep.stage import ClipContext, Media, Resources, Skipped, Stage, StageConfig

_LIBRARIES_MEMORY = 700 << 20  # bytes of torch and transformers
_PARAMETERS = 632_000_000  # of ViT-H/14
_MULTIPLE = 16  # pixels, of the sizes that Animate generates at

Rule = Literal["animate", "replace", "stretch", "centre_crop"]


class ImageEmbedConfig(StageConfig):
    """Which encoder looks at the reference picture, and how the picture is brought to its square."""

    backend: Literal["none", "clip"] = Field(
        default="none",
        description="clip: CLIP ViT-H/14, which needs its checkpoint; none: every clip is skipped, since nothing "
        "without weights stands in for it.",
    )
    model: str = model_field("clip-vit-h-14", "CLIP's image tower.")
    rule: Rule = Field(
        default="animate",
        description="animate: Wan2.2-Animate's official rule, the picture letterboxed to the size that `size` gives "
        "it, then stretched to the square; replace: the same with the driving video's size, as in replacement mode; "
        "stretch: stretched as it is; centre_crop: its middle square, as diffusers' pipeline does.",
    )
    size: SizeConfig = Field(
        default=SizeConfig(),
        description="Of the generated picture, from which animate and replace take the letterbox; give the latents' "
        "own.",
    )
    precision: Precision = Field(
        default="float32", description="The encoder's numbers; Wan's official code computes in float16."
    )
    storage: Precision = Field(
        default="float16", description="The stored numbers; float16 takes 0.66 MB a picture at ViT-H/14."
    )
    device: Device = Field(
        default="auto", description="Where the encoder runs.", json_schema_extra={"key": False}
    )


class ImageEmbed(Stage[ImageEmbedConfig]):
    """Penultimate hidden state of the reference picture; a clip without one is skipped."""

    name: ClassVar[str] = "image_embed"
    version: ClassVar[int] = 1
    record: ClassVar[type[Record]] = ImageEmbedRecord
    Config: ClassVar[type[StageConfig]] = ImageEmbedConfig

    @property
    def reads(self) -> frozenset[Media]:  # type: ignore[override]
        """The video only where its size decides: else clips that share a reference share its embedding."""
        video = {Media.VIDEO} if self.config.rule == "replace" else set()
        return frozenset({Media.REFERENCE, *video})

    @property
    def resources(self) -> Resources:  # type: ignore[override]
        if self.config.backend == "none":
            return Resources()
        width = {"float32": 4, "bfloat16": 2, "float16": 2}[self.config.precision]
        gpus = 1.0 if self.config.device == "cuda" else 0.0
        return Resources(cpus=1.0, gpus=gpus, memory=_LIBRARIES_MEMORY + width * _PARAMETERS)

    def models(self) -> Mapping[str, str]:
        if self.config.backend == "none":
            return {}
        return {"clip": tower_digest(find(self.config.model, PARTS))}

    def unavailable(self) -> str | None:
        if self.config.backend == "none":
            return None
        return check_extra("torch", "transformers") or missing(self.config.model, PARTS)

    def setup(self) -> None:
        if self.config.backend == "none":
            return
        found = resolve(self.config.model, PARTS)
        device = torch_device(self.config.device)
        self._tower = ImageTower(found.path, device, torch_dtype(self.config.precision))
        self._device = device.type
        self._digest = tower_digest(found)

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> ImageEmbedRecord | Skipped:
        clip = context.clip
        if clip.reference is None:
            return Skipped("no reference picture")
        if self.config.backend == "none":
            return Skipped(
                "no image encoder: take --set image_embed.backend=clip after `wanprep models fetch clip-vit-h-14`"
            )
        size = (clip.width, clip.height) if clip.width and clip.height else None
        if self.config.rule == "replace" and size is None:
            return Skipped("no driving video, whose size rule=replace takes: use rule=animate")
        rgb_HWC = read_image(clip.reference)
        height, width = rgb_HWC.shape[:2]
        if self.config.rule in ("animate", "replace"):
            source = size if self.config.rule == "replace" and size else (width, height)
            width, height = self.config.size.of(*source, _MULTIPLE)
            rgb_HWC = letterbox(rgb_HWC, (width, height))
        return ImageEmbedRecord(
            encoder=self.config.model,
            encoder_digest=self._digest,
            rule=self.config.rule,
            width=width,
            height=height,
            hidden_layer=HIDDEN_LAYER,
            precision=self.config.precision,
            device=self._device,
            embed_TC=self._embed_TC(rgb_HWC),
        )

    def _embed_TC(self, rgb_HWC: RGB) -> Tensor:
        side = self._tower.side
        if self.config.rule == "centre_crop":
            pixels_CHW = centre_cropped_CHW(rgb_HWC, side)
        else:
            pixels_CHW = stretched_CHW(rgb_HWC, side, bfloat16=self.config.rule != "stretch")
        embed_TC = self._tower.embed_TC(pixels_CHW).numpy()
        with np.errstate(over="ignore"):  # told below, with what to do
            stored_TC = embed_TC.astype(numpy_dtype(self.config.storage))
        if not np.isfinite(stored_TC.astype(np.float32)).all():
            raise ValueError(
                f"the encoder's hidden state has values that {self.config.precision} or the stored "
                f"{self.config.storage} cannot hold: take precision=float32 and storage=bfloat16"
            )
        return stored_TC

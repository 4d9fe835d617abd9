"""Runs the motion encoder of Wan2.2-Animate over a clip's face crops, a batch at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from schemas import FaceCropsRecord, FaceMotionRecord, Record
from schemas.tensor import BFLOAT16
from wanprep.animate.face_pixels import face_pixels_CTHW
from wanprep.animate.face_size import SizedCrops
from wanprep.errors import WanprepError
from wanprep.models.device import Device, check_extra
from wanprep.models.field import model_field
from wanprep.models.motion_encoder import (
    MotionEncoder,
    find_motion_encoder,
    load_motion_encoder,
    missing_motion_encoder,
    motion_weights_digest,
)
from wanprep.stage import ClipContext, Resources, Stage, StageConfig

_LIBRARIES = 400 << 20  # bytes of torch and diffusers alone (measured)
# Bytes for each face of a batch, in float32 (measured): a few times 32 feature maps of 512x512.
_A_FACE = 200 << 20


class FaceMotionConfig(StageConfig):
    """Whose motion encoder, and how it is run."""

    model: str = model_field(
        "wan2.2-animate-14b",
        "The generator whose motion encoder is taken. Of its files only those that hold the encoder are read.",
    )
    device: Device = Field(
        default="auto",
        description="Where the encoder runs: 23 million parameters over 512x512 pixels a frame.",
        json_schema_extra={"key": False},
    )
    precision: Literal["bfloat16", "float32"] = Field(
        default="bfloat16",
        description="What it computes in: bfloat16 as the generator does; float32 is slower on a GPU and nearer to "
        "the exact numbers than the generator itself. They are stored in bfloat16 either way.",
    )
    pixel_rounding: Literal["bfloat16", "float32"] = Field(
        default="bfloat16",
        description="bfloat16 rounds pixels first, as Wan2.2-Animate's official code does; float32 does not, as "
        "diffusers does not. Under precision bfloat16 it is the same.",
    )
    batch_size: int = Field(
        default=8,
        ge=1,
        le=256,
        description="Faces at a time: about 200 MB of memory each. Where they do not fit on a GPU, fewer are taken.",
        json_schema_extra={"key": False},
    )


class FaceMotion(Stage[FaceMotionConfig]):
    """A motion vector for each face crop, black ones included."""

    name: ClassVar[str] = "face_motion"
    version: ClassVar[int] = 1
    record: ClassVar[type[Record]] = FaceMotionRecord
    Config: ClassVar[type[StageConfig]] = FaceMotionConfig
    needs: ClassVar[tuple[str, ...]] = ("face_crops",)

    encoder: MotionEncoder  # there after `setup`

    @property
    def resources(self) -> Resources:  # type: ignore[override]
        if self.config.device == "cuda":
            return Resources(cpus=1.0, gpus=1.0, memory=_LIBRARIES)
        return Resources(
            cpus=1.0, memory=_LIBRARIES + _weight_bytes(self.config.model) + self.config.batch_size * _A_FACE
        )

    def models(self) -> Mapping[str, str]:
        return {"motion_encoder": motion_weights_digest(self.config.model)}

    def unavailable(self) -> str | None:
        return check_extra("torch", "diffusers") or missing_motion_encoder(self.config.model)

    def setup(self) -> None:
        self.encoder = load_motion_encoder(self.config.model, self.config.device, self.config.precision)

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> FaceMotionRecord:
        crops = inputs["face_crops"]
        assert isinstance(crops, FaceCropsRecord)
        config, encoder = self.config, self.encoder
        sized = SizedCrops(crops, encoder.size)
        motion_TC = context.spool(BFLOAT16, encoder.channels)
        for start in range(0, crops.frames, config.batch_size):
            batch_THWC = sized.crops_THWC(start, min(start + config.batch_size, crops.frames))
            motion_TC.append(encoder.encode(face_pixels_CTHW(batch_THWC, config.pixel_rounding)))
        return FaceMotionRecord(
            model=_name(config.model),
            encoder_digest=encoder.digest,
            precision=config.precision,
            device=encoder.device.type,
            pixel_rounding=config.pixel_rounding,
            size=encoder.size,
            frames=crops.frames,
            motion_TC=motion_TC.tensor(),
        )


def _weight_bytes(model: str) -> int:
    try:
        return 2 * find_motion_encoder(model).files.nbytes()  # as read, and as it runs
    except WanprepError:
        return 0


def _name(model: str) -> str:
    """Of a path its last folder: where it lies on this machine says nothing elsewhere."""
    path = Path(model)
    if not path.exists():
        return model
    path = path.resolve()
    return path.parent.name if path.name == "transformer" else path.name

"""What all latent stages let choose: the autoencoder, where it runs, at which size pictures are coded."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stages.size import SizeConfig
from wanprep.models.device import Device
from wanprep.models.field import model_field
from wanprep.stage import StageConfig


class EncoderConfig(StageConfig):
    """Which autoencoder makes latents, and how; of pictures whose size is known."""

    backend: Literal["dct-z16", "dct-z48", "vae"] = Field(
        default="dct-z16",
        description="dct: a fixed cosine transform with the geometry of the Wan2.1 (z16) or Wan2.2 (z48) VAE; needs "
        "no weights, decodes to a recognisable picture, and is taken by no Wan model. vae: the model below.",
    )
    model: str = model_field("wan2.1-vae", "The VAE of the backend vae.")
    device: Device = Field(
        default="auto",
        description="Where the VAE runs. On a CPU a second of 480p video takes minutes.",
        json_schema_extra={"key": False},
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="What the VAE computes in. float32 is what Wan's official code does; bfloat16 takes half the "
        "memory and less time.",
    )
    pixel_rounding: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="bfloat16 rounds pixels before a float32 VAE, as Wan2.2-Animate's official code does (up to 0.04 "
        "in latents); float32 does not, as diffusers does not.",
    )
    storage: Literal["float32", "bfloat16", "float16"] | None = Field(
        default=None,
        description="What latents are stored in; none: the VAE's precision, and float16 for dct (loses 0.00 dB).",
    )
    tile: int | None = Field(
        default=None,
        ge=64,
        le=8192,
        multiple_of=16,
        description="Code larger pictures in overlapping squares of this many pixels, for less GPU memory; changes "
        "the latents a little near the seams. none: whole pictures, and tiles only where a GPU's memory ends.",
    )


class LatentsConfig(EncoderConfig):
    """Which autoencoder makes latents, how, and at which size."""

    size: SizeConfig = Field(default=SizeConfig(), description="At which size pictures are coded.")

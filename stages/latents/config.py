"""What all latent stages let choose: the autoencoder, where it runs, at which size pictures are coded."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wanprep.errors import UsageError
from wanprep.media.geometry import Size
from wanprep.media.image import size_by_area
from wanprep.models.device import Device
from wanprep.models.field import model_field
from wanprep.models.vae_sizes import S2V_MULTIPLE, s2v_size, size_by_short_side
from wanprep.stage import StageConfig

_DEFAULT_AREA = 832 * 480  # pixels: Wan's 480p


class SizeConfig(BaseModel):
    """The size that pictures are coded at: by one of area, s2v_area, short_side, or width and height; else by an area
    of 832x480."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    area: int | None = Field(
        default=None,
        ge=1024,
        le=8192**2,
        description="Pixels, in the picture's own aspect, as Wan2.2-Animate's official preprocessing counts: 399360 "
        "is 480p, 921600 is 720p and costs 2.3 times as much.",
    )
    s2v_area: int | None = Field(
        default=None,
        ge=4096,
        le=8192**2,
        description="Pixels at most, by Wan2.2-S2V's official rule for the reference: multiples of 64, never "
        "enlarged. 720896 is 1024x704.",
    )
    short_side: int | None = Field(
        default=None, ge=32, le=8192, description="Pixels of the shorter side, in the picture's own aspect."
    )
    width: int | None = Field(
        default=None,
        ge=32,
        le=8192,
        multiple_of=16,
        description="Pixels; with height, the same for all clips.",
    )
    height: int | None = Field(
        default=None, ge=32, le=8192, multiple_of=16, description="Pixels; with width."
    )

    @model_validator(mode="after")
    def _one_rule(self) -> SizeConfig:
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height go together")
        given = [self.area, self.s2v_area, self.short_side, self.width]
        if sum(value is not None for value in given) > 1:
            raise ValueError("give one of area, s2v_area, short_side, or width and height")
        return self

    def of(self, width: int, height: int, multiple: int) -> Size:
        """Width and height to code a picture of this size at, both multiples of `multiple`.

        Raises:
            UsageError: an exact size is no multiple; an S2V size of nothing.
        """
        if self.width is not None and self.height is not None:
            if self.width % multiple or self.height % multiple:
                raise UsageError(
                    f"size {self.width}x{self.height}: this autoencoder takes multiples of {multiple}; "
                    f"the nearest is {_nearest(self.width, multiple)}x{_nearest(self.height, multiple)}"
                )
            return self.width, self.height
        if self.short_side is not None:
            return size_by_short_side(width, height, self.short_side, multiple)
        if self.s2v_area is not None:
            size = s2v_size(width, height, self.s2v_area)
            if min(size) < 1 or S2V_MULTIPLE % multiple:
                raise UsageError(
                    f"a picture of {width}x{height} has no size by the S2V rule: give area instead"
                )
            return size
        return size_by_area(width, height, self.area or _DEFAULT_AREA, multiple)


def _nearest(length: int, multiple: int) -> int:
    return max(1, round(length / multiple)) * multiple


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

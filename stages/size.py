"""The size that pictures are generated or coded at, from a picture's own."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wanprep.errors import UsageError
from wanprep.media.geometry import Size
from wanprep.media.image import size_by_area
from wanprep.models.vae_sizes import S2V_MULTIPLE, s2v_size, size_by_short_side

_DEFAULT_AREA = 832 * 480  # pixels: Wan's 480p


class SizeConfig(BaseModel):
    """The size that pictures are coded at: by the first that is given of width and height, short_side, s2v_area and
    area; else by an area of 832x480."""

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
    def _both_sides(self) -> SizeConfig:
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height go together")
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

"""How SAM2 is told where to look, and where it runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wanprep.animate.compat import Compat
from wanprep.models.device import Device
from wanprep.models.field import model_field
from wanprep.stage import StageConfig


class Sam2Config(StageConfig):
    """Of the stage `mask`, for its backend sam2."""

    model: str = model_field("sam2.1-hiera-large", "sam2: the video model in transformers' format.")
    device: Device = Field(
        default="auto",
        description="sam2: where it runs. On a CPU a second of video takes minutes.",
        json_schema_extra={"key": False},
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="sam2: what it computes in; float32 as the official preprocessing."
    )
    chunk: int = Field(
        default=100,
        ge=2,
        le=400,
        description="sam2: frames followed in one go, with points in every fourth part of them. They lie on the disk "
        "meanwhile, 3 MB each. official takes 400.",
    )
    compat: Compat = Field(
        default="robust",
        description="sam2: robust gives sure points within the frame and carries the mask over from chunk to chunk; "
        "official gives all points, the sure and the unsure, and starts each chunk anew.",
    )

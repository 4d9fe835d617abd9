"""How a generator's model is loaded."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from wanprep.models.device import Device, Precision
from wanprep_infer.memory.config import MemoryConfig


class Options(BaseModel):
    """Plain values, so that they travel to other processes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Device = Field(
        default="auto",
        description="auto: a GPU when there is one. A CPU does for tiny models and is far too slow for real ones.",
    )
    precision: Precision = Field(
        default="bfloat16",
        description="Of the transformer: float32 takes twice the memory of bfloat16; float16 overflows in some models.",
    )
    memory: MemoryConfig = Field(
        default_factory=MemoryConfig, description="What is given up for less GPU memory."
    )
    loras: tuple[str, ...] = Field(
        default=(),
        description="PATH or PATH:scale, attached in this order; more of them make a step take longer.",
    )

"""The memory options of a generation."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Offload = Literal["none", "model", "group", "sequential"]
Weights = Literal["as-loaded", "fp8"]
Parallel = Literal["none", "ulysses"]


class MemoryConfig(BaseModel):
    """How a generator fits on the GPU. Defaults take the most memory and the least time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    offload: Offload = Field(
        default="none",
        description="Where weights wait, with the same frames whatever is chosen. none: on the GPU. model: transformer "
        "and VAE take turns there, two moves of the weights a segment. group: the GPU holds the block that computes "
        "and the next one, at no cost where a block computes longer than it moves. sequential: one layer at a time, "
        "the least memory and by far the slowest.",
    )
    tile: int | None = Field(
        default=None,
        ge=32,
        description="Pixels a side of the overlapping squares that the VAE works in, 256 say: its memory falls with "
        "their area, pixels change slightly, and the overlaps are computed twice. By default the whole picture.",
    )
    weights: Weights = Field(
        default="as-loaded",
        description="fp8: the layers of the transformer's blocks are kept in 8 bits (float8 e4m3) and computed in the "
        "model's precision, which halves the memory of bfloat16 weights, adds a conversion a layer and step, and "
        "changes frames slightly.",
    )
    parallel: Parallel = Field(
        default="none",
        description="ulysses: one clip on several GPUs under torchrun, each with all weights: tokens are divided among "
        "them and exchanged for heads in every self-attention, so that a step takes less time and activations less "
        "memory; their number must divide the model's heads (40) and the clip's tokens.",
    )

    @model_validator(mode="after")
    def _go_together(self) -> MemoryConfig:
        if self.parallel != "none" and self.offload != "none":
            raise ValueError(
                f"parallel={self.parallel} goes with offload=none only: each GPU holds all weights"
            )
        return self

"""Rotary positions of video, reference and history tokens (Wan2.2 official code), and their tables.

A token's position is its time, row and column. Rows and columns count patches. Time counts latent frames from the
clip's first: the reference stands at 30, history at negative times, and coarser history takes the place of the
patches that it covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import nn

THETA = 10_000.0
REFERENCE_TIME = 30  # so that a clip has at most 30 latent frames
MAX_FRAMES = REFERENCE_TIME


@dataclass(frozen=True, slots=True)
class Grid:
    """Tokens in the order time, row, column."""

    times: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.times) * len(self.rows) * len(self.columns)


def full_grid(times: Sequence[int], height: int, width: int) -> Grid:
    """Every patch of `times`; height and width in patches."""
    return Grid(tuple(times), tuple(range(height)), tuple(range(width)))


def coarse_grid(times: Sequence[int], height: int, width: int, factor: int) -> Grid:
    """Patches `factor` times as large, spread over the same picture; height and width in fine patches."""
    return Grid(
        tuple(times), _spread(0, height - 1, height // factor), _spread(0, width - 1, width // factor)
    )


def packed_times(newest: int, oldest: int, count: int) -> tuple[int, ...]:
    """`count` times before the clip, from `oldest` to `newest` latent frames back: 19 to 4 in four are -19, -14, -9,
    -4."""
    return tuple(-time for time in _spread(oldest, newest, count))


def _spread(first: int, last: int, count: int) -> tuple[int, ...]:
    """Evenly from first to last, truncated as the official code does."""
    return tuple(int(value) for value in np.linspace(first, last, count))


@lru_cache(maxsize=2)  # a first clip's and the others'; 65 MB each at 1024x704
def rotations(grids: tuple[Grid, ...], head_dim: int) -> torch.Tensor:
    """complex128 [L, head_dim/2]: by which the pairs of neighbouring channels of each token are turned.

    Of a head's channels, `2 * (d // 6)` each turn with row and column, the others with time: 44, 42 and 42 of 128.

    Returns:
        On the CPU, kept for the last few arguments: not to be changed.
    """
    side = 2 * (head_dim // 6)
    dims = (head_dim - 2 * side, side, side)
    parts = []
    for grid in grids:
        shape = (len(grid.times), len(grid.rows), len(grid.columns))
        turned = [
            _axis(positions, dim).reshape(*(-1 if axis == at else 1 for axis in range(3)), dim // 2)
            for at, (positions, dim) in enumerate(
                zip((grid.times, grid.rows, grid.columns), dims, strict=True)
            )
        ]
        parts.append(torch.cat([part.expand(*shape, -1) for part in turned], -1).flatten(0, 2))
    return torch.cat(parts)


def _axis(positions: Sequence[int], dim: int) -> torch.Tensor:
    frequencies = THETA ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    angles = torch.outer(torch.tensor(positions, dtype=torch.float64), frequencies)
    return torch.polar(torch.ones_like(angles), angles)


class RotaryPositions(nn.Module):
    """Cosines, sines and sequence positions of all tokens, a module so that context parallelism can split them."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim

    def forward(
        self, grids: tuple[Grid, ...], device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """float32 [1,L,1,head_dim/2] cosines and sines, int64 [1,L] places in the sequence."""
        table = rotations(grids, self.head_dim)
        cos, sin = (part[None, :, None].to(device, torch.float32) for part in (table.real, table.imag))
        return cos, sin, torch.arange(len(table), device=device)[None]


def rotate(states_BLHD: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turns neighbouring channels; computed in float32 or wider, in the dtype of the states."""
    even, odd = states_BLHD[..., 0::2], states_BLHD[..., 1::2]
    turned = torch.empty_like(states_BLHD)
    turned[..., 0::2] = even * cos - odd * sin
    turned[..., 1::2] = even * sin + odd * cos
    return turned

"""Squares that cover a picture and overlap, and how their results are blended."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_OVERLAP = 4  # a tile overlaps the next by at least this part of its side


@dataclass(frozen=True)
class Span:
    """Part of one axis, in latent rows or columns; `stop` is exclusive."""

    start: int
    stop: int


@dataclass(frozen=True)
class Grid:
    """Tiles over a latent picture of `height` x `width`, row by row."""

    height: int
    width: int
    rows: tuple[Span, ...]
    columns: tuple[Span, ...]
    ramp: int  # latent pixels over which a tile fades in

    @property
    def tiles(self) -> list[tuple[Span, Span]]:
        return [(row, column) for row in self.rows for column in self.columns]

    def blend(self, parts: list[torch.Tensor], scale: int) -> torch.Tensor:
        """One picture [C,T,H,W] of the tiles' results, each `scale` pixels a latent pixel.

        Each result counts with a weight that rises linearly from its inner borders; the weights sum to 1 everywhere.
        """
        if len(parts) == 1:
            return parts[0]
        channels, frames = parts[0].shape[:2]
        # Summed in float32: bfloat16 would leave a grid of rounding errors.
        whole = parts[0].float().new_zeros((channels, frames, self.height * scale, self.width * scale))
        total = whole.new_zeros(whole.shape[-2:])
        for part, (row, column) in zip(parts, self.tiles, strict=True):
            weight = _ramp(row, self.height, self.ramp, scale, whole)[:, None]
            weight = weight * _ramp(column, self.width, self.ramp, scale, whole)[None]
            place = (
                slice(row.start * scale, row.stop * scale),
                slice(column.start * scale, column.stop * scale),
            )
            whole[:, :, place[0], place[1]] += part * weight
            total[place] += weight
        return (whole / total).to(parts[0].dtype)


def grid(height: int, width: int, tile: int | None) -> Grid:
    """The tiles of a latent picture; `tile` is a tile's side in latent pixels, None: one tile, the whole.

    Tiles of an axis are of one length and evenly spread, so that each has neighbours enough to see around its border.
    """
    rows = _spans(height, tile or height)
    columns = _spans(width, tile or width)
    return Grid(height, width, rows, columns, max(1, (tile or 0) // _OVERLAP))


def _spans(length: int, tile: int) -> tuple[Span, ...]:
    if tile >= length:
        return (Span(0, length),)
    overlap = tile // _OVERLAP
    count = math.ceil((length - overlap) / (tile - overlap))
    starts = [round(index * (length - tile) / (count - 1)) for index in range(count)]
    return tuple(Span(start, start + tile) for start in starts)


def _ramp(span: Span, length: int, ramp: int, scale: int, like: torch.Tensor) -> torch.Tensor:
    """The weight of each row or column of a tile: 1, and falling towards a border inside the picture."""
    import torch

    count = (span.stop - span.start) * scale
    position = torch.arange(count, device=like.device, dtype=like.dtype) + 0.5
    weight = torch.ones_like(position)
    if span.start > 0:
        weight = torch.minimum(weight, position / (ramp * scale))
    if span.stop < length:
        weight = torch.minimum(weight, (count - position) / (ramp * scale))
    return weight

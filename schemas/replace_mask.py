"""Artifact `replace_mask`: what replacement generates anew in each frame, at the size it is generated at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.blocks import decompress, unpack_bits
from schemas.record import Record
from schemas.tensor import TENSOR, Tensor

#: Values of `source_T`.
NOBODY, FROM_NEIGHBOURS, OWN = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceMaskRecord(Record):
    """One bit a pixel, 1 where the person is replaced; lossless: rows of packed bits [H, ceil(W/8)], a Zstandard block
    a frame. The picture lies in it as in its letterbox (Wan2.2 official rule)."""

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("backend", pa.string(), nullable=False),
            pa.field("compat", pa.string(), nullable=False),
            pa.field("iterations", pa.int32(), nullable=False),
            pa.field("kernel", pa.int32(), nullable=False),
            pa.field("w_len", pa.int32(), nullable=False),
            pa.field("h_len", pa.int32(), nullable=False),
            pa.field("frames", pa.int64(), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("blocks", TENSOR, nullable=False),
            pa.field("offsets_T", TENSOR, nullable=False),
            pa.field("source_T", TENSOR, nullable=False),
            pa.field("coverage_T", TENSOR, nullable=False),
            pa.field("mean_coverage", pa.float32(), nullable=False),
            pa.field("frames_filled", pa.int64(), nullable=False),
            pa.field("frames_empty", pa.int64(), nullable=False),
        ]
    )

    backend: str  # of the mask it was made of
    compat: str  # robust or official
    iterations: int  # of dilation; 0: the mask as it is, without a grid
    kernel: int  # pixels a side of the dilating square
    w_len: int  # columns of the grid over the mask's box
    h_len: int  # rows of it
    frames: int  # T
    width: int  # pixels of the pictures that are generated
    height: int
    blocks: Tensor  # uint8 [bytes]
    offsets_T: Tensor  # int64 [T+1]
    source_T: Tensor  # uint8 [T]: NOBODY (empty), FROM_NEIGHBOURS (of an empty mask) or OWN
    coverage_T: Tensor  # float32 [T] share of the picture that is replaced, 0 to 1
    mean_coverage: float
    frames_filled: int  # that are FROM_NEIGHBOURS
    frames_empty: int  # that are NOBODY

    def masks_THW(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.bool_]:
        """Frames `start` to `stop` (exclusive) as bool [T, height, width]."""
        stop = self.frames if stop is None else stop
        shape = (self.height, (self.width + 7) // 8)
        return unpack_bits(decompress(self.blocks, self.offsets_T, start, stop, shape, np.uint8), self.width)

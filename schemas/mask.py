"""Artifact `mask`: where the subject is in each frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.blocks import decompress, unpack_bits
from schemas.record import Record
from schemas.tensor import TENSOR, Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRecord(Record):
    """One bit a pixel, lossless: rows of packed bits [H, ceil(W/8)], a Zstandard block a frame."""

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("backend", pa.string(), nullable=False),
            pa.field("frames", pa.int64(), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("blocks", TENSOR, nullable=False),
            pa.field("offsets_T", TENSOR, nullable=False),
            pa.field("quality_T", TENSOR, nullable=False),
            pa.field("coverage_T", TENSOR, nullable=False),
            pa.field("mean_coverage", pa.float32(), nullable=False),
        ]
    )

    backend: str
    frames: int  # T
    width: int  # pixels of the stored mask
    height: int
    blocks: Tensor  # uint8 [bytes]
    offsets_T: Tensor  # int64 [T+1]
    quality_T: Tensor  # uint8 [T]: 0 empty, 1 hull of the skeleton, 2 segmentation
    coverage_T: Tensor  # float32 [T] share of the frame inside the mask, 0 to 1
    mean_coverage: float

    def masks_THW(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.bool_]:
        """Frames `start` to `stop` (exclusive) as bool [T, height, width]."""
        stop = self.frames if stop is None else stop
        shape = (self.height, (self.width + 7) // 8)
        return unpack_bits(decompress(self.blocks, self.offsets_T, start, stop, shape, np.uint8), self.width)

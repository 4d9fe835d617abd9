"""Artifact `flow`: optical flow between consecutive frames, and what the camera did."""

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
class FlowRecord(Record):
    """Flow from frame i to frame i+1 for each of the `pairs` = frames - 1 steps.

    Vectors are x, y in pixels of the stored size (`width` x `height`) per frame step, int8 in steps of
    `scale_T[i]`, a Zstandard block a pair; the error is at most half a step.
    """

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("backend", pa.string(), nullable=False),
            pa.field("pairs", pa.int64(), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("blocks", TENSOR, nullable=False),
            pa.field("offsets_T", TENSOR, nullable=False),
            pa.field("scale_T", TENSOR, nullable=False),
            pa.field("consistent_blocks", TENSOR),
            pa.field("consistent_offsets_T", TENSOR),
            pa.field("consistent_T", TENSOR),
            pa.field("motion_T", TENSOR, nullable=False),
            pa.field("camera_TC", TENSOR, nullable=False),
            pa.field("cut_T", TENSOR, nullable=False),
            pa.field("mean_motion", pa.float32(), nullable=False),
            pa.field("mean_camera", pa.float32(), nullable=False),
            pa.field("cuts", pa.int64(), nullable=False),
        ]
    )

    backend: str
    pairs: int  # T - 1
    width: int  # pixels of the stored flow
    height: int
    blocks: Tensor  # uint8 [bytes]: int8 [height, width, 2] a pair
    offsets_T: Tensor  # int64 [pairs+1]
    scale_T: Tensor  # float32 [pairs] pixels a step
    consistent_blocks: Tensor | None  # packed bits [height, ceil(width/8)] a pair: forward and backward agree
    consistent_offsets_T: Tensor | None
    consistent_T: Tensor | None  # float32 [pairs] share of pixels that agree, 0 to 1
    motion_T: Tensor  # float32 [pairs] mean length of flow less camera, pixels of the stored width
    camera_TC: Tensor  # float32 [pairs,3] shift x, shift y (pixels), zoom (1 = none)
    cut_T: Tensor  # bool [pairs]: another shot begins after this frame; its flow is zero
    mean_motion: float  # over pairs that are no cut
    mean_camera: float  # mean length of the camera's own flow over the picture, shift and zoom
    cuts: int

    def flow_THWC(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float32]:
        """Pairs `start` to `stop` (exclusive) as float32 [pairs, height, width, 2] pixels a frame step."""
        stop = self.pairs if stop is None else stop
        steps = decompress(self.blocks, self.offsets_T, start, stop, (self.height, self.width, 2), np.int8)
        scale = np.asarray(self.scale_T[start:stop], dtype=np.float32)[:, None, None, None]
        return steps.astype(np.float32) * scale

    def consistent_THW(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.bool_]:
        """Where forward and backward flow agree, bool [pairs, height, width].

        Raises:
            ValueError: the store did not keep it (`flow.consistency` was false).
        """
        if self.consistent_blocks is None or self.consistent_offsets_T is None:
            raise ValueError(
                "this store keeps no flow consistency: run again with --set flow.consistency=true"
            )
        stop = self.pairs if stop is None else stop
        shape = (self.height, (self.width + 7) // 8)
        bits = decompress(self.consistent_blocks, self.consistent_offsets_T, start, stop, shape, np.uint8)
        return unpack_bits(bits, self.width)

"""Artifact `face_motion`: what Wan2.2-Animate's motion encoder makes of each frame's face crop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from schemas.record import Record
from schemas.tensor import TENSOR, Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceMotionRecord(Record):
    """A motion vector a frame, each of its own frame alone: those of any part of the clip, padded or not, are these
    rows. They depend neither on text, reference and noise nor on the size that is generated at."""

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("model", pa.string(), nullable=False),
            pa.field("encoder_digest", pa.string(), nullable=False),
            pa.field("precision", pa.string(), nullable=False),
            pa.field("device", pa.string(), nullable=False),
            pa.field("pixel_rounding", pa.string(), nullable=False),
            pa.field("size", pa.int32(), nullable=False),
            pa.field("frames", pa.int64(), nullable=False),
            pa.field("motion_TC", TENSOR, nullable=False),
        ]
    )

    model: str  # the model's name; of a path its last folder
    encoder_digest: str  # of the motion encoder's weights by their values, whatever files they came from
    precision: str  # float32 or bfloat16: what it was computed in
    device: str  # cpu or cuda
    pixel_rounding: (
        str  # bfloat16: pixels were rounded before, as the Wan2.2 official code does; float32: they were not
    )
    size: int  # pixels a side of the faces that the encoder took
    frames: int  # T
    motion_TC: Tensor  # bfloat16 [T, C], C 512 in the published model

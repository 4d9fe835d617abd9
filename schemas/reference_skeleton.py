"""Artifact `reference_skeleton`: whole-body keypoints of the person in the reference picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from schemas.record import Record
from schemas.tensor import TENSOR, Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSkeletonRecord(Record):
    """133 COCO-WholeBody points of one person, as in `schemas.skeleton`, in pixels of the upright picture.

    A point that was not found has confidence 0 and lies at the origin. Left and right are the person's.
    """

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("backend", pa.string(), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("keypoints_KC", TENSOR, nullable=False),
            pa.field("box_C", TENSOR, nullable=False),
            pa.field("people", pa.int32(), nullable=False),
        ]
    )

    backend: str
    width: int  # pixels of the picture, upright
    height: int
    keypoints_KC: Tensor  # float32 [133,3] x, y, confidence 0 to 1
    box_C: Tensor  # float32 [4] x0 y0 x1 y1 of the person; zeros where only a face was found
    people: int  # measured in the picture, of whom this is one

"""Artifact `retarget`: the driving person's motion with the reference character's limbs, on its canvas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from schemas.record import Record
from schemas.tensor import TENSOR, Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class RetargetRecord(Record):
    """20 body points (`wanprep.media.wan_body.BODY_POINT_NAMES`) and two hands of 21 a frame, to be drawn.

    Points are x, y in pixels of the canvas, also beyond its border, and confidence 0 to 1; a point that is left out
    has confidence 0 and lies at the origin. Left and right are the character's.
    """

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("compat", pa.string(), nullable=False),
            pa.field("points", pa.string(), nullable=False),
            pa.field("edited", pa.bool_(), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("frames", pa.int64(), nullable=False),
            pa.field("body_TKC", TENSOR, nullable=False),
            pa.field("left_hand_TKC", TENSOR, nullable=False),
            pa.field("right_hand_TKC", TENSOR, nullable=False),
            pa.field("held_T", TENSOR, nullable=False),
            pa.field("framing", pa.string(), nullable=False),
            pa.field("scale", pa.float64(), nullable=False),
            pa.field("ratios_N", TENSOR, nullable=False),
        ]
    )

    compat: str  # official or robust
    points: str  # smooth or measured: which of the skeleton's points were moved
    edited: bool  # limbs were measured in edited pictures
    width: int  # pixels of the canvas: the model's size for the reference picture
    height: int
    frames: int  # T
    body_TKC: Tensor  # float32 [T,20,3]
    left_hand_TKC: Tensor  # float32 [T,21,3]
    right_hand_TKC: Tensor  # float32 [T,21,3]
    held_T: Tensor  # bool [T]: nobody was seen; the body is none, or that of the frame before
    framing: str  # full_body, three_quarter_body or half_body: how much both pictures show
    scale: float  # driving pixels a canvas pixel
    ratios_N: Tensor  # float32 [19] limb lengths, character per driving person (`wan_body.LIMBS`)

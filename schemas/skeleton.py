"""Artifact `skeleton`: whole-body keypoints of the clip's subject."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from schemas.record import Record
from schemas.tensor import TENSOR, Tensor

#: Values of `status_T`.
NO_BODY, FULL_FRAME, CROP, UNVERIFIED = 0, 1, 2, 3
#: Bits of `filled_T`: the part has points that were not seen in that frame.
FILLED_BODY, FILLED_FACE, FILLED_LEFT_HAND, FILLED_RIGHT_HAND = 1, 2, 4, 8

TRACK = pa.struct(
    [
        pa.field("track", pa.int32()),
        pa.field("first_frame", pa.int64()),
        pa.field("last_frame", pa.int64()),
        pa.field("frames", pa.int64()),
        pa.field("mean_area", pa.float64()),
        pa.field("mean_score", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SkeletonRecord(Record):
    """133 COCO-WholeBody points a frame (0-16 body, 17-22 feet, 23-90 face, 91-111 left hand, 112-132 right).

    Points are x, y in pixels of the source frame as shown, and confidence 0 to 1; an absent point has
    confidence 0 and lies at the origin. Left and right are the subject's. `filled_T` tells the frames whose smoothed
    points are in part interpolated over time; the measured ones never are.
    """

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("backend", pa.string(), nullable=False),
            pa.field("frames", pa.int64(), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("keypoints_TKC", TENSOR, nullable=False),
            pa.field("keypoints_smooth_TKC", TENSOR, nullable=False),
            pa.field("boxes_TC", TENSOR, nullable=False),
            pa.field("status_T", TENSOR, nullable=False),
            pa.field("subject_track", pa.int32(), nullable=False),
            pa.field("tracks", pa.list_(TRACK), nullable=False),
            pa.field("people_max", pa.int32(), nullable=False),
            pa.field("body_share", pa.float32(), nullable=False),
            pa.field("face_share", pa.float32(), nullable=False),
            pa.field("left_hand_share", pa.float32(), nullable=False),
            pa.field("right_hand_share", pa.float32(), nullable=False),
            pa.field("filled_T", TENSOR),
            pa.field("longest_gap", pa.float32()),
            pa.field("warnings", pa.list_(pa.string())),
        ]
    )

    backend: str
    frames: int  # T
    width: int  # pixels the points are in
    height: int
    keypoints_TKC: Tensor  # float32 [T,133,3], as measured
    keypoints_smooth_TKC: (
        Tensor  # float32 [T,133,3], smoothed over time, never across a gap; short gaps filled
    )
    boxes_TC: Tensor  # float32 [T,4] x0 y0 x1 y1 of the person; zeros where absent
    status_T: Tensor  # uint8 [T]: NO_BODY, FULL_FRAME, CROP or UNVERIFIED
    subject_track: int
    tracks: list[dict[str, Any]]  # every person seen: frames, mean box area (pixels), mean score
    people_max: int  # most people seen in one frame
    body_share: float  # share of frames 0 to 1
    face_share: float
    left_hand_share: float
    right_hand_share: float
    # None in stores written before these were there.
    filled_T: Tensor | None = None  # uint8 [T] FILLED_* bits: what the smoothed points have by interpolation
    longest_gap: float | None = None  # seconds without the subject's body, the longest stretch
    warnings: list[str] | None = None  # one sentence each; empty when all was plain

"""Artifact `quality`: numbers to filter clips by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from schemas.record import Record
from schemas.tensor import TENSOR, Tensor

_SHARES = ("body_share", "face_share", "left_hand_share", "right_hand_share")
_OPTIONAL = (
    "face_sharpness",
    "hand_sharpness",
    "motion",
    "camera_motion",
    "body_jitter",
    "face_jitter",
    "hand_jitter",
    *_SHARES,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRecord(Record):
    """Whole-clip numbers, and three curves over time. None: not measurable, for the want of a person, say."""

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("frames", pa.int64(), nullable=False),
            pa.field("brightness", pa.float32(), nullable=False),
            pa.field("contrast", pa.float32(), nullable=False),
            pa.field("sharpness", pa.float32(), nullable=False),
            pa.field("black_border", pa.list_(pa.float32(), 4), nullable=False),
            pa.field("brightness_T", TENSOR, nullable=False),
            pa.field("contrast_T", TENSOR, nullable=False),
            pa.field("sharpness_T", TENSOR, nullable=False),
            *(pa.field(name, pa.float32()) for name in _OPTIONAL),
        ]
    )

    frames: int
    brightness: float  # mean luma, 0 to 1
    contrast: float  # mean over frames of the luma's standard deviation, 0 to 0.5
    sharpness: float  # median over frames of the mean squared Laplacian of luma (0-255) at the measured size
    black_border: list[float]  # left, top, right, bottom: share of width or height that stays black
    brightness_T: Tensor  # float32 [T]
    contrast_T: Tensor  # float32 [T]
    sharpness_T: Tensor  # float32 [T]
    face_sharpness: float | None = None  # as sharpness, over the face box
    hand_sharpness: float | None = None  # as sharpness, over the boxes of the hands
    motion: float | None = None  # mean flow less camera, in percent of the picture's width per second
    camera_motion: float | None = (
        None  # mean flow of the camera (shift and zoom), in percent of the picture's width per second
    )
    body_jitter: float | None = None  # rms second difference of body points, percent of the person's height
    face_jitter: float | None = None  # rms second difference of face points, percent of the face's width
    hand_jitter: float | None = None  # rms second difference of hand points, percent of the hand's size
    body_share: float | None = None  # share of frames with a body, 0 to 1
    face_share: float | None = None
    left_hand_share: float | None = None
    right_hand_share: float | None = None

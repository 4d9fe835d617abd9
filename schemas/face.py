"""Artifact `face`: what the subject's face does in each frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from schemas.record import Record
from schemas.tensor import TENSOR, Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceRecord(Record):
    """Face features of each frame. Rows where `valid_T` is false were not measured: interpolated over time where
    `filled_T` is true, zeros elsewhere.

    Right comes before left in two-element columns, and both are the subject's.
    """

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("backend", pa.string(), nullable=False),
            pa.field("frames", pa.int64(), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("valid_T", TENSOR, nullable=False),
            pa.field("score_T", TENSOR, nullable=False),
            pa.field("boxes_TC", TENSOR, nullable=False),
            pa.field("points_TKC", TENSOR, nullable=False),
            pa.field("mesh_TKC", TENSOR),
            pa.field("head_pose_TC", TENSOR, nullable=False),
            pa.field("eye_openness_TC", TENSOR, nullable=False),
            pa.field("blink_T", TENSOR, nullable=False),
            pa.field("mouth_openness_T", TENSOR, nullable=False),
            pa.field("gaze_TC", TENSOR, nullable=False),
            pa.field("brow_height_TC", TENSOR, nullable=False),
            pa.field("crop_boxes_TC", TENSOR, nullable=False),
            pa.field("face_share", pa.float32(), nullable=False),
            pa.field("filled_T", TENSOR),
            pa.field("longest_gap", pa.float32()),
        ]
    )

    backend: str
    frames: int  # T
    width: int  # pixels the boxes and points are in
    height: int
    valid_T: Tensor  # bool [T] measured in this frame
    score_T: Tensor  # float32 [T], of the face detector, 0 to 1
    boxes_TC: Tensor  # float32 [T,4] x0 y0 x1 y1 around the mesh, pixels
    points_TKC: Tensor  # float32 [T,68,2] pixels, iBUG 300-W order
    mesh_TKC: (
        Tensor | None
    )  # float16 [T,478,3] in units of the box: x/width, y/height, z/width; None: not kept
    head_pose_TC: Tensor  # float32 [T,3] yaw, pitch, roll in degrees; 0 0 0 looks at the camera
    eye_openness_TC: Tensor  # float32 [T,2] height over width of the eye opening, right, left
    blink_T: Tensor  # bool [T]
    mouth_openness_T: Tensor  # float32 [T] inner lip height over width
    # Zeros from a backend that sees no irises (vitpose).
    gaze_TC: (
        Tensor  # float32 [T,2] iris centre between the eye corners, right and down positive, in eye widths
    )
    brow_height_TC: Tensor  # float32 [T,2] brow above eye in face heights, right, left
    crop_boxes_TC: Tensor  # int32 [T,4] the official face crop's x0 y0 x1 y1, pixels
    face_share: float  # share of frames 0 to 1
    # None in stores written before these were there.
    filled_T: Tensor | None = None  # bool [T] interpolated between the frames around
    longest_gap: float | None = None  # seconds without a face, the longest stretch

    def mesh_pixels_TKC(self, start: int = 0, stop: int | None = None) -> Tensor:
        """The mesh in pixels, float32 [stop - start, 478, 3] (z in pixels of the frame's width scale).

        Raises:
            ValueError: the store did not keep the mesh (`face.mesh` was false).
        """
        if self.mesh_TKC is None:
            raise ValueError("this store keeps no face mesh: run again with --set face.mesh=true")
        rows = slice(start, stop)
        boxes = np.asarray(self.boxes_TC[rows], dtype=np.float32)
        size = boxes[:, 2:] - boxes[:, :2]
        scale = np.stack([size[:, 0], size[:, 1], size[:, 0]], axis=-1)[:, None]
        corner = np.stack([boxes[:, 0], boxes[:, 1], np.zeros(len(boxes), np.float32)], axis=-1)[:, None]
        pixels: Tensor = np.asarray(self.mesh_TKC[rows], dtype=np.float32) * scale + corner
        return pixels

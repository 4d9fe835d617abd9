"""What 68 face points say, where there is no mesh: head pose, eyes, mouth, brows. They do not show where one looks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.person.coco_wholebody import Points
from stages.person.face_features import FaceFeatures, openness, ratio

# iBUG 300-W numbering. Six points an eye: corner, two upper, corner, two lower; the right one first.
_EYES = (slice(36, 42), slice(42, 48))
_BROWS = (slice(17, 22), slice(22, 27))
_INNER_LIPS, _MOUTH_CORNERS = (62, 66), (60, 64)
_NASION, _CHIN = 27, 8
_FACE_HEIGHT = (
    1.42  # of the mesh's face per distance from nasion to chin (measured: 1.45 and 1.38 on two faces)
)

# Points that no expression moves, and where they lie on a face of 1 between its outer eye corners: right, down, away
# from the camera. The median over frames of Face Mesh on the drawn sample clip, turned to the front, sides made equal.
_RIGID = (*range(27, 36), 36, 39, 42, 45, 0, 16, 1, 15, 2, 14)
_MODEL = np.array([
    (0, -.309, -.213), (0, -.115, -.323), (0, .035, -.446), (0, .132, -.477),
    (-.181, .253, -.233), (-.08, .279, -.295), (0, .285, -.311), (.08, .279, -.295), (.181, .253, -.233),
    (-.5, -.249, -.006), (-.185, -.208, -.066), (.185, -.208, -.066), (.5, -.249, -.006),
    (-.721, -.196, .474), (.721, -.196, .474), (-.72, -.032, .508), (.72, -.032, .508),
    (-.714, .139, .503), (.714, .139, .503),
])  # fmt: skip
_MODEL -= _MODEL.mean(axis=0)
_INVERSE = np.linalg.pinv(_MODEL)


def features_68(points_KC: npt.NDArray[np.floating[Any]]) -> FaceFeatures:
    """All features of one face, [68,2] in pixels; gaze is zeros. Points that are all equal give zeros, never NaN."""
    points = np.asarray(points_KC[:, :2], np.float64)
    lips, corners = (float(np.hypot(*(points[a] - points[b]))) for a, b in (_INNER_LIPS, _MOUTH_CORNERS))
    return FaceFeatures(
        head_pose_C=head_pose_68(points),
        eye_openness_C=np.array([openness(points[eye]) for eye in _EYES], np.float32),
        mouth_openness=ratio(lips, corners),
        gaze_C=np.zeros(2, np.float32),
        brow_height_C=_brow_height(points),
    )


def head_pose_68(points_KC: npt.NDArray[np.float64]) -> Points:
    """Yaw, pitch and roll in degrees, signs as in `face_features.head_pose`.

    The affine camera that takes a mean face to the points, by least squares (POS; DeMenthon and Davis, 1995), made a
    rotation. Against the mesh's own axes on two clips: yaw within 1.6 degrees, roll 0.3, changes of pitch 1.3 (standard
    deviations); pitch itself is off by up to 8 where a face's shape differs from the mean.
    """
    rigid_KC = points_KC[list(_RIGID)]
    camera = (_INVERSE @ (rigid_KC - rigid_KC.mean(axis=0))).T
    left, sizes, right = np.linalg.svd(camera, full_matrices=False)
    if not sizes[1] > 1e-9:
        return np.zeros(3, np.float32)
    across, down = left @ right
    x_axis, y_axis, z_axis = np.stack([across, down, np.cross(across, down)]).T
    yaw = math.atan2(-z_axis[0], z_axis[2])
    pitch = math.asin(float(np.clip(z_axis[1], -1, 1)))
    roll = math.atan2(x_axis[1], y_axis[1])
    return np.degrees([yaw, pitch, roll]).astype(np.float32)


def _brow_height(points: npt.NDArray[np.float64]) -> Points:
    up = points[_NASION] - points[_CHIN]
    height_squared = float(up @ up) * _FACE_HEIGHT
    if height_squared == 0:
        return np.zeros(2, np.float32)
    return np.array(
        [
            (points[brow].mean(0) - points[[eye.start, eye.start + 3]].mean(0)) @ up / height_squared
            for brow, eye in zip(_BROWS, _EYES, strict=True)
        ],
        np.float32,
    )

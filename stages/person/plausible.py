"""Whether a body belongs to a detected head: a confident pose can be a whole body squeezed into the head."""

from __future__ import annotations

import numpy as np

from stages.person.coco_wholebody import MESH_LEFT_IRIS, MESH_RIGHT_IRIS, Points
from stages.person.estimator import Detection

# BlazePose indices.
_HEAD = ((5,), (2,), (0,), (9, 10), (8,), (7,))  # right eye, left eye, nose, mouth, right ear, left ear
_LEFT_SHOULDER, _RIGHT_SHOULDER, _LEFT_HIP, _RIGHT_HIP = 11, 12, 23, 24
# Face Mesh indices in the same order; 234 and 454 lie in front of the ears.
_MESH = (MESH_RIGHT_IRIS, MESH_LEFT_IRIS, 4, 13, 234, 454)

# In face widths. On a film clip these tell the 35 % of frames with a squeezed body from the rest (measured).
_HEAD_DISTANCE = 0.3
_SHOULDERS_BELOW_MOUTH = 0.15
_SHOULDER_WIDTH = (0.8, 6.0)
_TORSO_LENGTH = 1.6  # a body seen from the side has narrow shoulders, but not a short torso


def body_fits(pose_KC: Points, head: Detection) -> bool:
    """Whether the body [33, x y ...] has this head (with its six points), shoulders below the mouth, and a size
    that goes with the face's. Pixels."""
    if head.points_KC is None or head.width <= 0:
        return False
    face_KC, unit = head.points_KC, head.width
    pose_head_KC = np.stack([pose_KC[list(index), :2].mean(0) for index in _HEAD])
    if np.linalg.norm(pose_head_KC - face_KC, axis=1).mean() >= _HEAD_DISTANCE * unit:
        return False
    mouth = face_KC[3]
    down = mouth - face_KC[:2].mean(0)
    length = float(np.linalg.norm(down))
    if length == 0:
        return False
    shoulders = pose_KC[[_LEFT_SHOULDER, _RIGHT_SHOULDER], :2]
    if float((shoulders.mean(0) - mouth) @ down) / length <= _SHOULDERS_BELOW_MOUTH * unit:
        return False
    width = float(np.linalg.norm(shoulders[0] - shoulders[1]))
    torso = float(np.linalg.norm(pose_KC[[_LEFT_HIP, _RIGHT_HIP], :2].mean(0) - shoulders.mean(0)))
    if width > _SHOULDER_WIDTH[1] * unit:
        return False
    return width >= _SHOULDER_WIDTH[0] * unit or torso >= _TORSO_LENGTH * unit


def mesh_distance(mesh_KC: Points, head: Detection) -> float:
    """Mean distance of a face mesh from the head's six points, in face widths; infinite without points."""
    if head.points_KC is None or head.width <= 0:
        return float("inf")
    return float(np.linalg.norm(mesh_KC[list(_MESH), :2] - head.points_KC, axis=1).mean()) / head.width

"""What a face mesh says: head pose, eyes, mouth, gaze, brows; and the face crop that Wan2.2-Animate is fed.

Mesh: [478,3] of MediaPipe's Face Mesh with irises, x right, y down, z away from the camera, one unit.
Two-element results hold the subject's right side first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.person.coco_wholebody import MESH_LEFT_IRIS, MESH_RIGHT_IRIS, Points
from wanprep.animate.face_crop import face_box

# Groups whose means span the face's own axes: its right and left edge, forehead and chin.
_RIGHT_EDGE, _LEFT_EDGE = (33, 234, 93), (263, 454, 323)
_TOP, _BOTTOM = (10, 151, 9), (152, 199, 175)
# Six points an eye: corner, two upper, corner, two lower; image-left corner first on a frontal face.
_EYES = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))
_IRISES = (MESH_RIGHT_IRIS, MESH_LEFT_IRIS)
_BROWS = ((70, 63, 105, 66, 107), (336, 296, 334, 293, 300))
_LIPS = (13, 14)  # inner edges, upper and lower
_MOUTH_CORNERS = (78, 308)
_FACE_TOP, _CHIN = 10, 152

_BLINK = 0.6  # of the eye's median openness over the clip


@dataclass(frozen=True, slots=True, eq=False)
class FaceFeatures:
    head_pose_C: Points  # [3] yaw, pitch, roll in degrees
    eye_openness_C: Points  # [2] height over width
    mouth_openness: float  # inner lip height over width
    gaze_C: Points  # [2] in eye widths, image right and down positive
    brow_height_C: Points  # [2] in face heights


def features(mesh_KC: Points) -> FaceFeatures:
    """All features of one mesh. A degenerate mesh (all points equal) gives zeros, never NaN."""
    mesh = mesh_KC.astype(np.float64)
    return FaceFeatures(
        head_pose_C=head_pose(mesh),
        eye_openness_C=np.array([openness(mesh[list(eye), :2]) for eye in _EYES], np.float32),
        mouth_openness=ratio(_length(mesh, *_LIPS), _length(mesh, *_MOUTH_CORNERS)),
        gaze_C=_gaze(mesh),
        brow_height_C=_brow_height(mesh),
    )


def head_pose(mesh_KC: npt.NDArray[np.floating[Any]]) -> Points:
    """Yaw, pitch and roll in degrees from the face's own axes; 0 0 0 looks at the camera.

    Positive yaw turns to the image's right, positive pitch up, positive roll tilts clockwise as seen. The mesh's
    axes are used because a six-point PnP fit flips between two solutions on frontal faces (measured: yaw jumps
    of 17.6 degrees rms between frames, against 1.0).
    """
    mesh = np.asarray(mesh_KC, np.float64)
    x = mesh[list(_LEFT_EDGE)].mean(0) - mesh[list(_RIGHT_EDGE)].mean(0)
    y = mesh[list(_BOTTOM)].mean(0) - mesh[list(_TOP)].mean(0)
    if not np.linalg.norm(x) > 0:
        return np.zeros(3, np.float32)
    x = x / np.linalg.norm(x)
    y = y - (y @ x) * x
    if not np.linalg.norm(y) > 0:
        return np.zeros(3, np.float32)
    y = y / np.linalg.norm(y)
    nose = -np.cross(x, y)  # towards the camera on a frontal face
    yaw = math.atan2(nose[0], -nose[2])
    pitch = math.asin(float(np.clip(-nose[1], -1, 1)))
    roll = math.atan2(x[1], y[1])
    return np.degrees([yaw, pitch, roll]).astype(np.float32)


def blinks(
    eye_openness_TC: npt.NDArray[np.floating[Any]], valid_T: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Frames in which both eyes are below 0.6 of their median over the valid frames: bool [T]."""
    if not valid_T.any():
        return np.zeros(len(valid_T), bool)
    median_C = np.median(eye_openness_TC[valid_T], axis=0)
    shut_T: npt.NDArray[np.bool_] = valid_T & (eye_openness_TC < _BLINK * median_C).all(1)
    return shut_T


def crop_box(points_KC: npt.NDArray[np.floating[Any]], width: int, height: int) -> npt.NDArray[np.int32]:
    """The face crop around 68 points (pixels): int32 [4] x0 y0 x1 y1, exclusive, inside the frame; zeros for a face
    beyond the frame's border. `wanprep.animate.face_crop` has the rule."""
    return face_box(points_KC, width, height)


def normalise_mesh(mesh_KC: Points, box_C: Points) -> npt.NDArray[np.float16]:
    """The mesh in units of its box: x/width, y/height from the corner, z/width. float16 keeps a face 500 pixels
    wide to a quarter of a pixel."""
    size = np.maximum(box_C[2:] - box_C[:2], 1e-6)
    scaled = (mesh_KC - [box_C[0], box_C[1], 0]) / [size[0], size[1], size[0]]
    normalised: npt.NDArray[np.float16] = scaled.astype(np.float16)
    return normalised


def _length(mesh: npt.NDArray[np.float64], a: int, b: int) -> float:
    return float(np.linalg.norm(mesh[a, :2] - mesh[b, :2]))


def ratio(part: float, whole: float) -> float:
    """`part` of `whole`; 0 where that is nothing."""
    return part / whole if whole > 0 else 0.0


def openness(eye: npt.NDArray[np.float64]) -> float:
    """Eye aspect ratio (Soukupova and Cech, 2016) of corner, two upper, corner, two lower points."""
    heights = np.linalg.norm(eye[1] - eye[5]) + np.linalg.norm(eye[2] - eye[4])
    return ratio(float(heights) / 2, float(np.linalg.norm(eye[0] - eye[3])))


def _gaze(mesh: npt.NDArray[np.float64]) -> Points:
    """Mean over both eyes of the iris centre's offset from the corners' middle, along and across the eye."""
    offsets = np.zeros(2)
    for eye, iris in zip(_EYES, _IRISES, strict=True):
        left, right = mesh[eye[0], :2], mesh[eye[3], :2]
        along = right - left
        width_squared = float(along @ along)
        if width_squared > 0:
            offset = mesh[iris, :2] - (left + right) / 2
            down = np.array([-along[1], along[0]])
            offsets += np.array([offset @ along, offset @ down]) / width_squared / len(_EYES)
    return offsets.astype(np.float32)


def _brow_height(mesh: npt.NDArray[np.float64]) -> Points:
    up = mesh[_FACE_TOP, :2] - mesh[_CHIN, :2]
    height_squared = float(up @ up)
    if height_squared == 0:
        return np.zeros(2, np.float32)
    return np.array(
        [
            (mesh[list(brow), :2].mean(0) - mesh[[eye[0], eye[3]], :2].mean(0)) @ up / height_squared
            for brow, eye in zip(_BROWS, _EYES, strict=True)
        ],
        np.float32,
    )

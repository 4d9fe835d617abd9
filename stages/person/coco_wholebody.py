"""COCO-WholeBody's 133 points, and how MediaPipe's landmarks map to them.

Layout: Jin et al., "Whole-Body Human Pose Estimation in the Wild", ECCV 2020. The face part is in iBUG 300-W
order (68 points). MediaPipe's own numbering: BlazePose (33), Face Mesh with irises (478), hands (21).
Left and right are the subject's throughout.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float32]

COUNT = 133
BODY = slice(0, 17)
FEET = slice(17, 23)
FACE = slice(23, 91)
LEFT_HAND = slice(91, 112)
RIGHT_HAND = slice(112, 133)

NOSE, LEFT_EYE, RIGHT_EYE = 0, 1, 2
LEFT_SHOULDER, RIGHT_SHOULDER = 5, 6
LEFT_WRIST, RIGHT_WRIST = 9, 10
LEFT_HIP, RIGHT_HIP = 11, 12
_ARMS = ((5, 7), (7, 9), (6, 8), (8, 10))
_LEGS = ((11, 13), (13, 15), (12, 14), (14, 16), (15, 17), (15, 19), (16, 20), (16, 22))
#: Pairs of body and foot points that a limb joins.
LIMBS = _ARMS + _LEGS
#: Shoulders and hips, in order around the torso.
TORSO = (LEFT_SHOULDER, RIGHT_SHOULDER, RIGHT_HIP, LEFT_HIP)

#: BlazePose index of each body point.
POSE_TO_BODY = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
#: BlazePose has one tip a foot, so big and small toe share it: left big, small, heel; right big, small, heel.
POSE_TO_FEET = (31, 31, 29, 32, 32, 30)
_SMALL_TOES = (18, 21)
_COPY_CONFIDENCE = 0.5  # small toes are copies of the big ones

# fmt: off
#: Face Mesh index of each of the 68 points.
MESH_TO_68 = (
    127, 234, 93, 132, 58, 172, 150, 176, 152, 400, 379, 397, 288, 361, 323, 454, 356,  # jaw, right ear to left ear
    70, 63, 105, 66, 107,  # right brow
    336, 296, 334, 293, 300,  # left brow
    168, 197, 5, 4,  # bridge of the nose to its tip
    98, 97, 2, 326, 327,  # base of the nose
    33, 160, 158, 133, 153, 144,  # right eye
    362, 385, 387, 263, 373, 380,  # left eye
    61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91,  # outer lip
    78, 81, 13, 311, 308, 402, 14, 178,  # inner lip
)
# fmt: on
MESH_RIGHT_IRIS, MESH_LEFT_IRIS = 468, 473
#: Face Mesh indices of nose, left eye, right eye: three to four times steadier than BlazePose's (measured).
_MESH_TO_HEAD = (4, MESH_LEFT_IRIS, MESH_RIGHT_IRIS)


def from_mediapipe(
    pose_KC: Points | None,
    mesh_KC: Points | None = None,
    left_KC: Points | None = None,
    right_KC: Points | None = None,
    *,
    face_score: float = 1.0,
    left_score: float = 1.0,
    right_score: float = 1.0,
) -> Points:
    """The 133 points as float32 [133,3] (x, y, confidence 0 to 1), in the unit of the inputs.

    `pose_KC` is [33,4] (x, y, z, visibility), `mesh_KC` [478,3], the hands [21,3]; None leaves a part absent.
    Body and feet take the visibility as confidence; face and hands have no score a point and take the part's.
    """
    keypoints_KC = np.zeros((COUNT, 3), np.float32)
    if pose_KC is not None:
        for part, index in ((BODY, POSE_TO_BODY), (FEET, POSE_TO_FEET)):
            keypoints_KC[part] = pose_KC[index, :][:, (0, 1, 3)]
        keypoints_KC[_SMALL_TOES, 2] *= _COPY_CONFIDENCE
    if mesh_KC is not None:
        keypoints_KC[FACE, :2] = mesh_KC[MESH_TO_68, :2]
        keypoints_KC[FACE, 2] = face_score
        if pose_KC is not None:
            keypoints_KC[(NOSE, LEFT_EYE, RIGHT_EYE), :2] = mesh_KC[_MESH_TO_HEAD, :2]
    for part, hand_KC, score in ((LEFT_HAND, left_KC, left_score), (RIGHT_HAND, right_KC, right_score)):
        if hand_KC is not None:
            keypoints_KC[part, :2] = hand_KC[:, :2]
            keypoints_KC[part, 2] = score
    np.clip(keypoints_KC[:, 2], 0, 1, out=keypoints_KC[:, 2])
    keypoints_KC[keypoints_KC[:, 2] == 0] = 0
    return keypoints_KC

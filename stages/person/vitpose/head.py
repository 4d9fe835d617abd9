"""Where the head of a measured person is: what people are told apart and followed by."""

from __future__ import annotations

import numpy as np

from stages.person.coco_wholebody import FACE, LEFT_SHOULDER, RIGHT_SHOULDER, Points
from stages.person.estimator import Detection

SEEN = 0.3  # confidence of a point that counts
_HEAD_POINTS = slice(0, 5)  # nose, eyes, ears
# The detector's six points: right eye, left eye, nose, mouth, right ear, left ear. The mouth is the mean of the lips.
_EYES_AND_NOSE, _EARS = [2, 1, 0], [4, 3]
_LIPS = slice(FACE.start + 48, FACE.stop)
_OF_SHOULDERS = 0.4  # width of a face per distance of the shoulder joints; anthropometric, 14 to 35 cm
_OF_BOX = 0.25  # the same per shorter side of the person's box, when nothing else is seen


def face_score(keypoints_KC: Points) -> float:
    """Mean confidence of the 68 face points, 0 to 1."""
    return float(np.clip(keypoints_KC[FACE, 2], 0, 1).mean())


def head_of(keypoints_KC: Points, box_C: Points, least_face: float) -> Detection:
    """The head of a person with the given keypoints [133,3] and box x0 y0 x1 y1, pixels.

    Around the face points when their mean confidence is at least `least_face`; otherwise a square at the nose, eyes
    and ears that are seen, as large as the shoulders say; otherwise at the top of the person's box. The score is the
    face's, 0 when it is not seen.
    """
    score = face_score(keypoints_KC)
    if score >= least_face:
        points_KC = keypoints_KC[FACE, :2]
        face_box_C = np.concatenate([points_KC.min(0), points_KC.max(0)]).astype(np.float32)
        if (face_box_C[2:] > face_box_C[:2]).all():
            return Detection(face_box_C, score, _six(keypoints_KC))
    shoulders_KC = keypoints_KC[[LEFT_SHOULDER, RIGHT_SHOULDER]]
    wide = float((box_C[2:] - box_C[:2]).min()) * _OF_BOX
    if (shoulders_KC[:, 2] >= SEEN).all():
        # Shoulders seen from the side are as good as one point: the box bounds the head from below.
        wide = max(_OF_SHOULDERS * float(np.hypot(*(shoulders_KC[0] - shoulders_KC[1])[:2])), wide / 2)
    points_KC = keypoints_KC[_HEAD_POINTS]
    points_KC = points_KC[points_KC[:, 2] >= SEEN, :2]
    top_C = np.array([(box_C[0] + box_C[2]) / 2, box_C[1] + wide / 2])
    centre_C = points_KC.mean(0) if len(points_KC) else top_C
    half = max(wide, 1.0) / 2
    return Detection(np.concatenate([centre_C - half, centre_C + half]).astype(np.float32), 0.0)


def _six(keypoints_KC: Points) -> Points:
    mouth_C = keypoints_KC[_LIPS, :2].mean(0, keepdims=True)
    six_KC: Points = np.concatenate(
        [keypoints_KC[_EYES_AND_NOSE, :2], mouth_C, keypoints_KC[_EARS, :2]]
    ).astype(np.float32)
    return six_KC

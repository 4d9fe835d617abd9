"""From the 133 COCO-WholeBody keypoints to the 20 body points and two hands that Wan2.2-Animate draws.

COCO-WholeBody (Jin et al., ECCV 2020) order: 0..16 body, 17..22 feet, 23..90 face, 91..111 left hand,
112..132 right hand. Left and right are the person's own. The 20 body points, their order and the 19 limbs
are those of the Wan2.2 official code.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

KEYPOINT_COUNT = 133
BODY_POINT_COUNT = 20
HAND_POINT_COUNT = 21
FACE = slice(23, 91)
LEFT_HAND = slice(91, 112)
RIGHT_HAND = slice(112, 133)

# Each body point is the mean of its COCO-WholeBody sources; only the neck and the two toes have two.
BODY_POINTS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("nose", (0,)),
    ("neck", (5, 6)),
    ("right_shoulder", (6,)),
    ("right_elbow", (8,)),
    ("right_wrist", (10,)),
    ("left_shoulder", (5,)),
    ("left_elbow", (7,)),
    ("left_wrist", (9,)),
    ("right_hip", (12,)),
    ("right_knee", (14,)),
    ("right_ankle", (16,)),
    ("left_hip", (11,)),
    ("left_knee", (13,)),
    ("left_ankle", (15,)),
    ("right_eye", (2,)),
    ("left_eye", (1,)),
    ("right_ear", (4,)),
    ("left_ear", (3,)),
    ("left_toe", (17, 18)),
    ("right_toe", (20, 21)),
)
BODY_POINT_NAMES: tuple[str, ...] = tuple(name for name, _ in BODY_POINTS)

# Parent, child in drawing order; the order is also a valid one for forward kinematics from the neck.
LIMBS: tuple[tuple[int, int], ...] = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17), (13, 18), (10, 19),
)  # fmt: skip

# Wrist to the base of each finger, then along it: thumb, index, middle, ring, little.
HAND_EDGES: tuple[tuple[int, int], ...] = tuple(
    edge
    for base in range(1, HAND_POINT_COUNT, 4)
    for edge in ((0, base), (base, base + 1), (base + 1, base + 2), (base + 2, base + 3))
)

_FIRST_SOURCE = np.array([sources[0] for _, sources in BODY_POINTS])
_LAST_SOURCE = np.array([sources[-1] for _, sources in BODY_POINTS])


def to_wan_body(keypoints_KC: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """The 20 body points of one person.

    keypoints_KC: (133, 3) float, COCO-WholeBody order: x, y in pixels or any other unit, confidence in 0..1.
    Returns (20, 3) float32, same units, in the order of `BODY_POINT_NAMES`: x, y and confidence are each the
    mean over the point's sources (Wan2.2 official code). A point with a missing source (confidence zero or
    less, or anything not finite) has confidence 0, for its mean position means nothing.
    Raises ValueError when the shape is not (133, 3).
    """
    if keypoints_KC.shape != (KEYPOINT_COUNT, 3):
        raise ValueError(f"keypoints array is {keypoints_KC.shape}: pass (133, 3) of x, y, confidence")
    # infinite coordinates are caught below, so their arithmetic needs no warning
    with np.errstate(over="ignore", invalid="ignore"):
        keypoints = keypoints_KC.astype(np.float32)
        first, last = keypoints[_FIRST_SOURCE], keypoints[_LAST_SOURCE]
        body_20C: NDArray[np.float32] = (first + last) * np.float32(0.5)
    missing = ~np.isfinite(body_20C).all(axis=1) | (first[:, 2] <= 0) | (last[:, 2] <= 0)
    body_20C[missing, 2] = 0.0
    return body_20C

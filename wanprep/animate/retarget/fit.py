"""What is measured once for a clip, and what retargeting gives."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from wanprep.media.draw import draw_body_and_hands
from wanprep.media.geometry import Size
from wanprep.media.image import RGB
from wanprep.media.wan_body import BODY_POINT_NAMES, LIMBS

Floats = npt.NDArray[np.float64]

PARENTS = np.array([parent for parent, _ in LIMBS])
CHILDREN = np.array([child for _, child in LIMBS])

_INDEX = {name: index for index, name in enumerate(BODY_POINT_NAMES)}
NOSE, NECK = _INDEX["nose"], _INDEX["neck"]
SHOULDERS = [_INDEX["right_shoulder"], _INDEX["left_shoulder"]]
ELBOWS = [_INDEX["right_elbow"], _INDEX["left_elbow"]]
WRISTS = [_INDEX["right_wrist"], _INDEX["left_wrist"]]
HIPS = [_INDEX["right_hip"], _INDEX["left_hip"]]
KNEES = [_INDEX["right_knee"], _INDEX["left_knee"]]
ANKLES = [_INDEX["right_ankle"], _INDEX["left_ankle"]]
TOES = [_INDEX["right_toe"], _INDEX["left_toe"]]
HEAD = [NOSE, *(_INDEX[f"{side}_{part}"] for part in ("eye", "ear") for side in ("right", "left"))]

# Limbs of the two sides that are taken for equally long: the body's, then the head's.
BODY_PAIRS = ((0, 1), (2, 4), (3, 5), (6, 9), (7, 10), (8, 11), (17, 18))
HEAD_PAIRS = ((13, 15), (14, 16))
# Limb to a toe, and the shin it is at most half as long as (Wan2.2 official code).
FEET = ((18, 8), (17, 11))
FOOT_PER_SHIN = 0.5


class Framing(IntEnum):
    """How much of a person the picture shows."""

    HALF_BODY = 0
    THREE_QUARTER_BODY = 1
    FULL_BODY = 2


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """How the driving person becomes the character: numbers that hold for the whole clip."""

    source: Size  # width, height of the driving frames
    canvas: Size  # of the reference
    scale: float  # driving pixels per canvas pixel
    ratios_N: Floats  # [19] limb lengths, character (in driving pixels) per driving person
    shift: tuple[float, float]  # driving pixels, subtracted before the scale
    ground_x: float  # where the driving person stood when measured, driving pixels
    framing: Framing


@dataclass(frozen=True, slots=True, eq=False)
class Retargeted:
    """The character's pose over T frames, float64, x and y in pixels of the canvas, then confidence.

    Left and right are the character's. A hand's point that is left out is NaN with confidence 0.
    """

    canvas: Size
    body_TKC: Floats  # [T,20,3]
    left_hand_TKC: Floats  # [T,21,3]
    right_hand_TKC: Floats  # [T,21,3]

    def __len__(self) -> int:
        return len(self.body_TKC)

    def picture(self, frame: int, right_hand_first: bool = False) -> RGB:
        """The skeleton of a frame on black, uint8 [H,W,3]. The official code draws a retargeted right hand first."""
        width, height = self.canvas
        hands = (self.left_hand_TKC[frame], self.right_hand_TKC[frame])
        return draw_body_and_hands(
            np.zeros((height, width, 3), np.uint8),
            self.body_TKC[frame],
            *(reversed(hands) if right_hand_first else hands),
        )


def lengths(body_TKC: npt.NDArray[np.floating[Any]]) -> Floats:
    """Length of each limb in the unit of the points: [..., 19] of [..., 20, 2 or 3]."""
    vectors = body_TKC[..., CHILDREN, :2] - body_TKC[..., PARENTS, :2]
    return np.asarray(np.sqrt((vectors**2).sum(axis=-1)), np.float64)


def framing(body_KC: npt.NDArray[np.floating[Any]]) -> Framing:
    """How much of the person is in the picture, of points as fractions of it (thresholds of the official code)."""
    there_K = (body_KC[:, 1] <= 1) & (body_KC[:, 2] >= _FRAMING_CONFIDENCE)
    if not there_K[HIPS].all():
        return Framing.HALF_BODY
    return Framing.FULL_BODY if there_K[ANKLES].all() else Framing.THREE_QUARTER_BODY


_FRAMING_CONFIDENCE = 0.4

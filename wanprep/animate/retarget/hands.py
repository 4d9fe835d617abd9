"""Hands of a retargeted person: on the new wrists, of the character's size, on their own side."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wanprep.animate.pose import Pose
from wanprep.animate.retarget.fit import CHILDREN, ELBOWS, WRISTS, Fit, Floats

_CONFIDENCE = 0.4  # least of a point that is kept (Wan2.2 official code)
_NEARER = 2.0  # hands change sides when that brings their roots this much nearer to the wrists
_APART = 0.5  # forearms between wrists at which hands can be told apart
_FOREARMS = [int(np.flatnonzero(wrist == CHILDREN)[0]) for wrist in WRISTS]

Flags = npt.NDArray[np.bool_]


def move_hands(
    found: Fit,
    driving: Pose,
    source_TKC: Floats,
    there_TK: Flags,
    origin_TKC: Floats,
    placed_TKC: Floats,
) -> tuple[Floats, Floats]:
    """Left and right hand on the canvas, [T,21,3] each; a point that is left out is zeros.

    A hand's root comes to the new wrist. Without a wrist it hangs on the arm where that is last seen; without a root
    the hand moves with the wrist; without both it is left out. Hands at each other's wrists change sides first.

    Args:
        source_TKC: the driving body, pixels. there_TK: its joints that are there.
        origin_TKC, placed_TKC: what each joint hangs on, before (pixels) and after (canvas).
    """
    hands = [_seen(driving.pixels(part_TKC)) for part_TKC in (driving.right_hand_TKC, driving.left_hand_TKC)]
    exchanged_T11 = _exchanged(hands, source_TKC, there_TK)[:, None, None]
    sides = [np.where(exchanged_T11, hands[1 - side], hands[side]) for side in (0, 1)]
    factor = float(np.median(found.ratios_N)) / found.scale
    moved = []
    for side, hand_TKC in enumerate(sides):
        wrist = WRISTS[side]
        root_T1 = hand_TKC[:, 0, 2:] > 0
        wrist_T1 = there_TK[:, wrist, None]
        from_TC = np.where(root_T1, hand_TKC[:, 0, :2], origin_TKC[:, wrist])
        arm = found.ratios_N[_FOREARMS[side]] / found.scale
        hanging_TC = placed_TKC[:, wrist] + arm * (from_TC - origin_TKC[:, wrist])
        to_TC = np.where(wrist_T1, placed_TKC[:, wrist], hanging_TC)
        points_TKC = to_TC[:, None] + factor * (hand_TKC[..., :2] - from_TC[:, None])
        result_TKC = np.concatenate([points_TKC, hand_TKC[..., 2:]], axis=-1)
        result_TKC[(hand_TKC[..., 2] <= 0) | ~(root_T1 | wrist_T1)] = 0
        moved.append(result_TKC)
    return moved[1], moved[0]


def _seen(hand_TKC: Floats) -> Floats:
    """The points that are confident enough; zeros for the others."""
    seen = np.isfinite(hand_TKC).all(axis=-1, keepdims=True) & (hand_TKC[..., 2:] >= _CONFIDENCE)
    return np.where(seen, hand_TKC, 0.0)


def _exchanged(hands: list[Floats], source_TKC: Floats, there_TK: Flags) -> Flags:
    """Frames in which the hands lie at each other's wrists, and the wrists apart: folded hands stay as they are."""
    own_T, other_T = np.zeros(len(source_TKC)), np.zeros(len(source_TKC))
    right_TC, left_TC = (source_TKC[:, wrist, :2] for wrist in WRISTS)
    apart_T = np.hypot(*(right_TC - left_TC).T)
    both_T = there_TK[:, WRISTS].all(axis=1) & (apart_T > _APART * _arm_length(source_TKC, there_TK))
    for side, hand_TKC in enumerate(hands):
        known_T = both_T & (hand_TKC[:, 0, 2] > 0)
        for total_T, wrist in ((own_T, WRISTS[side]), (other_T, WRISTS[1 - side])):
            away_T = np.hypot(*(hand_TKC[:, 0, :2] - source_TKC[:, wrist, :2]).T)
            total_T += np.where(known_T, away_T, 0)
    exchanged_T: Flags = own_T > _NEARER * other_T
    return exchanged_T


def _arm_length(source_TKC: Floats, there_TK: Flags) -> Floats:
    """The longer forearm that is there, pixels [T]; 0 without one."""
    arms = []
    for elbow, wrist in zip(ELBOWS, WRISTS, strict=True):
        long_T = np.hypot(*(source_TKC[:, elbow, :2] - source_TKC[:, wrist, :2]).T)
        arms.append(np.where(there_TK[:, [elbow, wrist]].all(axis=1), long_T, 0))
    return np.maximum(*arms)

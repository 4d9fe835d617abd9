"""Retargeting rule by rule as the Wan2.2 official preprocessing does it: everything is measured in one frame."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from wanprep.animate.pose import Pose
from wanprep.animate.retarget.fit import (
    ANKLES,
    BODY_PAIRS,
    CHILDREN,
    FEET,
    FOOT_PER_SHIN,
    HEAD,
    HEAD_PAIRS,
    HIPS,
    NECK,
    NOSE,
    PARENTS,
    SHOULDERS,
    TOES,
    WRISTS,
    Fit,
    Floats,
    Framing,
    Retargeted,
    framing,
    lengths,
)
from wanprep.media.geometry import Size

_SCALE_CONFIDENCE = 0.5
_HAND_CONFIDENCE = 0.4


def fit(driving: Pose, reference: Pose, edited: tuple[Pose, Pose] | None = None) -> Fit:
    """What the first frame of `driving` and of `reference` say. `edited` are the poses of both in edited pictures
    (driving, reference), whose limbs are measured instead."""
    size, scale = driving.size, global_scale(driving, reference)[0]
    large = _scaled(reference.size, scale)
    if edited is None:
        ratios_N = _ratios(_limbs(reference, large), _limbs(driving, size))
    else:
        ratios_N = _edited_ratios(driving, reference, *edited)
    moved_KC = _chained(driving.pixels(driving.body_TKC[:1])[..., :2], ratios_N)[0]
    target_KC = reference.body_TKC[0, :, :2] * np.array(large, np.float64)
    least = min(framing(reference.body_TKC[0]), framing(driving.body_TKC[0]))
    if least is Framing.FULL_BODY:
        ground_y = (target_KC[ANKLES, 1] + target_KC[TOES, 1]).max() / 2
        ground_x = moved_KC[HIPS, 0].mean()
        dx, dy = ground_x - target_KC[HIPS, 0].mean(), moved_KC[ANKLES, 1].max() - ground_y
    else:
        dx, dy = moved_KC[NECK] - target_KC[NECK]
        ground_x = moved_KC[NECK, 0]
    return Fit(size, reference.size, scale, ratios_N, (float(dx), float(dy)), float(ground_x), Framing(least))


def move(found: Fit, driving: Pose) -> Retargeted:
    """Every frame of `driving` with the character's limbs. Frame 0 alone is moved to where the measured frame stood."""
    source_TKC = driving.pixels(driving.body_TKC)
    moved_TKC = _chained(source_TKC[..., :2], found.ratios_N, feet=True)
    shift_TC = np.tile(np.array(found.shift), (len(driving), 1))
    if found.framing is Framing.FULL_BODY:
        shift_TC[0, 0] += moved_TKC[0, HIPS, 0].mean() - found.ground_x
    elif found.framing is Framing.HALF_BODY:
        shift_TC[0, 0] += moved_TKC[0, NECK, 0] - found.ground_x
    body_TKC = (moved_TKC - shift_TC[:, None]) / found.scale
    left_TKC, right_TKC = _hands(found, driving, source_TKC, body_TKC)
    confident_TKC = np.concatenate([body_TKC, source_TKC[..., 2:]], axis=-1)
    return Retargeted(found.canvas, confident_TKC, left_TKC, right_TKC)


def global_scale(driving: Pose, reference: Pose) -> tuple[float, bool]:
    """Driving pixels per reference pixel: of the heights from nose to ankles, or to hips, or else of the pictures'
    areas; and whether it is the last."""
    bodies = [(pose.body_TKC[0], pose.size[1]) for pose in (driving, reference)]
    for ends in (ANKLES, HIPS):
        if all((body_KC[[NOSE, *ends], 2] > _SCALE_CONFIDENCE).all() for body_KC, _ in bodies):
            heights = [
                height * abs(float(body_KC[ends, 1].mean(dtype=np.float64)) - float(body_KC[NOSE, 1]))
                for body_KC, height in bodies
            ]
            return heights[0] / heights[1] if heights[1] else math.inf, False
    return math.sqrt(math.prod(driving.size)) / math.sqrt(math.prod(reference.size)), True


def _scaled(size: Size, scale: float) -> Size:
    return int(size[0] * scale), int(size[1] * scale)


def _limbs(pose: Pose, size: Size) -> Floats:
    """Limb lengths of the first frame on a picture of `size`."""
    return lengths(pose.body_TKC[0, :, :2] * np.array(size, np.float64))


def _ratios(character_N: Floats, driving_N: Floats) -> Floats:
    """Character per driving person, the two sides made equal: the body's to the larger, the head's to the mean."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios_N = character_N / driving_N
    for right, left in BODY_PAIRS:
        ratios_N[[right, left]] = max(ratios_N[right], ratios_N[left])
    for right, left in HEAD_PAIRS:
        ratios_N[[right, left]] = (ratios_N[right] + ratios_N[left]) / 2
    return ratios_N


def _edited_ratios(driving: Pose, reference: Pose, edited_driving: Pose, edited_reference: Pose) -> Floats:
    scale, by_area = global_scale(edited_driving, edited_reference)
    character_N = _limbs(edited_reference, _scaled(edited_reference.size, scale))
    driving_N = _limbs(edited_driving, edited_driving.size)
    if by_area:  # nothing but head and shoulders says by how much editing changed the person's size
        character_N = character_N * _resized(reference, edited_reference)
        driving_N = driving_N * _resized(driving, edited_driving)
    return _ratios(character_N, driving_N)


def _resized(original: Pose, edited: Pose) -> float:
    """Size of the person in the original per size in the edited picture."""
    heads = [float(np.ptp(pose.body_TKC[0, HEAD, 0])) for pose in (original, edited)]
    shoulders = []
    for pose in (original, edited):
        right, left = pose.pixels(pose.body_TKC[:1])[0, SHOULDERS, :2]
        shoulders.append(float(np.hypot(*(right - left))))
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(max(np.float64(heads[0]) / heads[1], np.float64(shoulders[0]) / shoulders[1]))


def _chained(points_TKC: Floats, ratios_N: Floats, feet: bool = False) -> Floats:
    """Limbs of other lengths and the same directions, put together from the neck: [T,20,2]."""
    vectors_TNC = points_TKC[:, CHILDREN] - points_TKC[:, PARENTS]
    with np.errstate(invalid="ignore"):
        vectors_TNC = vectors_TNC * ratios_N[:, None]
    if feet:
        long_TN = np.sqrt((vectors_TNC**2).sum(axis=-1))
        for foot, shin in FEET:
            limit_T = FOOT_PER_SHIN * long_TN[:, shin]
            over_T = long_TN[:, foot] > limit_T
            vectors_TNC[over_T, foot] *= (limit_T[over_T] / long_TN[over_T, foot])[:, None]
    moved_TKC: Floats = points_TKC.copy()
    for limb, (parent, child) in enumerate(zip(PARENTS, CHILDREN, strict=True)):
        moved_TKC[:, child] = moved_TKC[:, parent] + vectors_TNC[:, limb]
    return moved_TKC


def _hands(found: Fit, driving: Pose, source_TKC: Floats, body_TKC: Floats) -> tuple[Floats, Floats]:
    """Left and right hand, whole pixels. Hands taken for exchanged change sides and keep the movement that was
    measured before, which leads them off (kept as it is)."""
    factor = max(found.ratios_N[0], found.ratios_N[1]) / found.scale
    hands = [driving.pixels(part_TKC) for part_TKC in (driving.right_hand_TKC, driving.left_hand_TKC)]
    valid = [part_TKC[:, 0, 2] >= _HAND_CONFIDENCE for part_TKC in hands]
    moves = []
    for side, (part_TKC, valid_T) in enumerate(zip(hands, valid, strict=True)):
        old_TC, new_TC = source_TKC[:, WRISTS[side], :2], body_TKC[:, WRISTS[side]]
        moves.append(new_TC - np.where(valid_T[:, None], part_TKC[:, 0, :2], old_TC))
    root_TC = np.where(valid[0][:, None], hands[0][:, 0, :2], -np.array(found.source, np.float64))
    away_T, other_T = (np.hypot(*(source_TKC[:, wrist, :2] - root_TC).T) for wrist in WRISTS)
    exchanged_T11 = (away_T > other_T)[:, None, None]
    right_TKC = _placed(np.where(exchanged_T11, hands[1], hands[0]), factor, moves[0])
    left_TKC = _placed(np.where(exchanged_T11, hands[0], hands[1]), factor, moves[1])
    return left_TKC, right_TKC


def _placed(hand_TKC: Floats, factor: float, move_TC: npt.NDArray[np.float64]) -> Floats:
    root_T1C = hand_TKC[:, :1, :2]
    points_TKC = np.trunc(root_T1C + factor * (hand_TKC[..., :2] - root_T1C) + move_TC[:, None])
    placed_TKC: Floats = np.concatenate([points_TKC, hand_TKC[..., 2:]], axis=-1)
    dropped_TK = hand_TKC[..., 2] < _HAND_CONFIDENCE
    placed_TKC[dropped_TK] = (np.nan, np.nan, 0)
    return placed_TKC

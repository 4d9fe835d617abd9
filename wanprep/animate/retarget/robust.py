"""Retargeting that looks at the whole clip and at confidence.

Where the Wan2.2 official preprocessing measures everything in one frame, a limb's length is the median of the longer
half of the frames that show it: one that points at the camera looks shorter, never longer. A limb that is never seen
takes its other side's ratio, or the median of all; none is more than twice as far from that median. Frames with a
missing joint hang what is beyond it on the nearest joint that is there.
"""

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
    HEAD_PAIRS,
    HIPS,
    NECK,
    NOSE,
    PARENTS,
    TOES,
    Fit,
    Floats,
    Framing,
    Retargeted,
    framing,
    lengths,
)
from wanprep.animate.retarget.hands import move_hands

CONFIDENT = 0.5  # as for drawing a point
_LIMIT = 2.0  # how far a ratio may be from the median of all

Flags = npt.NDArray[np.bool_]


def fit(driving: Pose, reference: Pose, edited: tuple[Pose, Pose] | None = None) -> Fit:
    """What all frames of `driving` and the one of `reference` say. `edited` are the poses of both in edited pictures
    (driving, reference), whose limbs are measured instead."""
    scale = _scale(driving, reference)
    measured = (driving, reference) if edited is None else edited
    ratios_N = _ratios(*measured, scale if edited is None else _scale(*edited))
    source_KC, anchor_K = _first_with_neck(driving)
    body_KC = _body(reference)[0]
    target_KC = body_KC[:, :2] * scale
    chained_KC = chain(source_KC[None, :, :2], anchor_K[None], ratios_N)[0][0]
    there_K = body_KC[:, 2] >= CONFIDENT
    fractions_KC = source_KC / np.array([*driving.size, 1])
    least = Framing(min(framing(_as_seen(reference.body_TKC[0])), framing(fractions_KC)))
    if least is Framing.FULL_BODY:
        toes = bool((anchor_K & there_K)[TOES].all())  # the same measure for both, unlike the official one
        ground_x = float(chained_KC[HIPS, 0].mean())
        dx = ground_x - float(target_KC[HIPS, 0].mean())
        dy = _standing(chained_KC, toes) - _standing(target_KC, toes)
    elif there_K[NECK] and anchor_K[NECK]:
        dx, dy = (chained_KC[NECK] - target_KC[NECK]).tolist()
        ground_x = float(chained_KC[NECK, 0])
    else:  # without both necks the middles of what is seen, or of the pictures, come to lie on each other
        from_C = _middle(chained_KC, anchor_K, np.array(driving.size) / 2)
        to_C = _middle(target_KC, there_K, np.array(reference.size) * scale / 2)
        dx, dy = (from_C - to_C).tolist()
        ground_x = float(from_C[0])
    return Fit(driving.size, reference.size, scale, ratios_N, (dx, dy), ground_x, least)


def move(found: Fit, driving: Pose) -> Retargeted:
    """Every frame of `driving` with the character's limbs; a point without confidence lies at 0."""
    source_TKC = _body(driving)
    there_TK = source_TKC[..., 2] >= CONFIDENT
    chained_TKC, origin_TKC, moved_TKC = chain(source_TKC[..., :2], there_TK, found.ratios_N, feet=True)
    shift_C = np.array(found.shift)
    body_TKC = np.concatenate([(chained_TKC - shift_C) / found.scale, source_TKC[..., 2:]], axis=-1)
    body_TKC[source_TKC[..., 2] <= 0] = 0
    left_TKC, right_TKC = move_hands(
        found, driving, source_TKC, there_TK, origin_TKC, (moved_TKC - shift_C) / found.scale
    )
    return Retargeted(found.canvas, body_TKC, left_TKC, right_TKC)


def chain(
    points_TKC: Floats, there_TK: Flags, ratios_N: Floats, feet: bool = False
) -> tuple[Floats, Floats, Floats]:
    """Limbs of other lengths and the same directions, put together from the neck.

    Returns the points [T,20,2], and for each the place it hangs things on, before and after [T,20,2]: itself, or,
    where it is missing, that of the joint before it. A missing neck is where it is in the frames around.
    """
    origin_TKC = points_TKC.copy()
    origin_TKC[:, NECK] = _between(points_TKC, there_TK)
    moved_TKC = origin_TKC.copy()
    chained_TKC = origin_TKC.copy()
    scaled_TN = np.zeros((len(points_TKC), len(ratios_N)))
    shin_of = dict(FEET) if feet else {}
    for limb, (parent, child) in enumerate(zip(PARENTS, CHILDREN, strict=True)):
        vector_TC = (points_TKC[:, child] - origin_TKC[:, parent]) * ratios_N[limb]
        long_T = np.hypot(*vector_TC.T)
        if limb in shin_of:
            shin = shin_of[limb]
            whole_T = there_TK[:, parent] & there_TK[:, PARENTS[shin]]
            limit_T = np.where(whole_T, FOOT_PER_SHIN * scaled_TN[:, shin], np.inf)
            over_T = long_T > limit_T
            vector_TC[over_T] *= (limit_T[over_T] / long_T[over_T])[:, None]
        scaled_TN[:, limb] = long_T
        chained_TKC[:, child] = moved_TKC[:, parent] + vector_TC
        there_T1 = there_TK[:, child, None]
        moved_TKC[:, child] = np.where(there_T1, chained_TKC[:, child], moved_TKC[:, parent])
        origin_TKC[:, child] = np.where(there_T1, points_TKC[:, child], origin_TKC[:, parent])
    return chained_TKC, origin_TKC, moved_TKC


def _body(pose: Pose) -> Floats:
    """The body in pixels; what is not finite, or has no confidence, is 0."""
    return pose.pixels(_as_seen(pose.body_TKC))


def _as_seen(body: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    seen = np.isfinite(body).all(axis=-1, keepdims=True) & (body[..., 2:] > 0)
    return np.where(seen, body, np.float32(0))


def _between(points_TKC: Floats, there_TK: Flags) -> Floats:
    """The neck in each frame [T,2]: interpolated over time where it is missing; the middle of what is seen in a clip
    that never shows it."""
    known_T = there_TK[:, NECK]
    if not known_T.any():
        weight_TK = there_TK / np.maximum(there_TK.sum(axis=1, keepdims=True), 1)
        middle_TC: Floats = np.einsum("tk,tkc->tc", weight_TK, points_TKC)
        return middle_TC
    frames_T = np.arange(len(points_TKC))
    return np.stack(
        [np.interp(frames_T, frames_T[known_T], points_TKC[known_T, NECK, axis]) for axis in (0, 1)], axis=1
    )


def _unforeshortened(values_T: Floats) -> float:
    """The median of the larger half: turning away and crouching make lengths and heights smaller, never larger."""
    return float(np.median(np.sort(values_T)[len(values_T) // 2 :]))


def _limb_lengths(pose: Pose) -> Floats:
    """Each limb's length over the frames that show both its ends, pixels [19]; NaN where none does."""
    body_TKC = _body(pose)
    there_TK = body_TKC[..., 2] >= CONFIDENT
    long_TN = lengths(body_TKC)
    shown_TN = there_TK[:, PARENTS] & there_TK[:, CHILDREN] & (long_TN > 0)
    length_N = np.full(long_TN.shape[1], np.nan)
    for limb in np.flatnonzero(shown_TN.any(axis=0)):
        length_N[limb] = _unforeshortened(long_TN[shown_TN[:, limb], limb])
    return length_N


def _scale(driving: Pose, reference: Pose) -> float:
    """Driving pixels per reference pixel: of the heights from nose to ankles, or to hips; or else the median over the
    limbs; or of the pictures' areas."""
    for ends in (ANKLES, HIPS):
        heights = [_height(pose, ends) for pose in (driving, reference)]
        if heights[0] and heights[1]:
            return heights[0] / heights[1]
    of_limbs_N = _limb_lengths(driving) / _limb_lengths(reference)
    if np.isfinite(of_limbs_N).any():
        return float(np.nanmedian(of_limbs_N))
    return math.sqrt(math.prod(driving.size) / math.prod(reference.size))


def _height(pose: Pose, ends: list[int]) -> float:
    """From the nose down to the middle of two points, pixels; 0 when no frame shows them."""
    body_TKC = _body(pose)
    shown_T = (body_TKC[:, [NOSE, *ends], 2] >= CONFIDENT).all(axis=1)
    if not shown_T.any():
        return 0.0
    return _unforeshortened(np.abs(body_TKC[shown_T][:, ends, 1].mean(axis=1) - body_TKC[shown_T, NOSE, 1]))


def _ratios(driving: Pose, reference: Pose, scale: float) -> Floats:
    """Limb lengths, character (in driving pixels) per driving person: finite and above 0, [19]."""
    ratios_N = _limb_lengths(reference) * scale / _limb_lengths(driving)
    for pair in (*BODY_PAIRS, *HEAD_PAIRS):
        both = ratios_N[list(pair)]
        if np.isfinite(both).any():
            ratios_N[list(pair)] = np.nanmean(both)
    median = float(np.nanmedian(ratios_N)) if np.isfinite(ratios_N).any() else 1.0
    filled_N = np.where(np.isfinite(ratios_N), ratios_N, median)
    return np.clip(filled_N, median / _LIMIT, median * _LIMIT)


def _first_with_neck(driving: Pose) -> tuple[Floats, Flags]:
    """Points and which are there, of the first frame that shows the neck; of the first frame when none does."""
    body_TKC = _body(driving)
    there_TK = body_TKC[..., 2] >= CONFIDENT
    first = int(there_TK[:, NECK].argmax())
    return body_TKC[first], there_TK[first]


def _standing(points_KC: Floats, toes: bool) -> float:
    """Where a person stands, y: the lower foot, in the middle of ankle and toe with toes, else at the ankle."""
    ends = points_KC[ANKLES, 1]
    return float(((ends + points_KC[TOES, 1]) / 2 if toes else ends).max())


def _middle(points_KC: Floats, there_K: Flags, otherwise_C: Floats) -> Floats:
    middle_C: Floats = points_KC[there_K].mean(axis=0) if there_K.any() else otherwise_C
    return middle_C

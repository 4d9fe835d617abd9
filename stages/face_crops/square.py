"""Square crop boxes over a clip: the official rule's box, made square, filled over gaps, smoothed over time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_GROW = math.sqrt(1.3) - 1  # of width and height: an area of 1.3 times (Wan2.2 official code)
_CUT_SIDES = 1.0  # of the larger box, that a face's centre moves between two frames of one shot at most
_CHUNK = 1024  # frames whose points are read at a time
_REACH = 4  # standard deviations of the Gaussian that are summed


@dataclass(frozen=True, slots=True, eq=False)
class Squares:
    """Where a clip's crops are."""

    boxes_TC: npt.NDArray[
        np.float32
    ]  # [T,4] x0 y0 x1 y1, square, inside the frame; zeros where there is none
    valid_T: Flags  # from a face that was measured in this frame
    filled_T: Flags  # from the frames around
    longest_gap: int  # frames in a row without one


def squares(
    points_TKC: npt.NDArray[np.floating[Any]],
    valid_T: Flags,
    size: tuple[int, int],
    *,
    sigma: float,
    longest_fill: int,
) -> Squares | None:
    """The boxes of a clip whose frames have `size` (width, height); None when no face is in any of them.

    A frame without a face, or with one beyond the border, gets the box between those before and after it, or the
    nearest one's at the clip's ends and beside a cut; longer gaps get none.

    Args:
        points_TKC: float [T,68,2], pixels; rows that are not valid do not matter.
        valid_T: bool [T].
        sigma: frames of the Gaussian over centre and logarithm of the side. It ends at cuts, which are where the
            centre moves by more than the box's side a frame. 0: none.
        longest_fill: frames in a row without a face that are filled.
    """
    track_TC = _centre_and_log_side(points_TKC)
    valid_T = valid_T & _reaches_inside(track_TC, size)
    measured = np.flatnonzero(valid_T)
    if not len(measured):
        return None
    shots = _shots(track_TC, measured, len(valid_T))
    filled_TC = np.empty_like(track_TC)
    for start, stop in shots:
        own = measured[(measured >= start) & (measured < stop)]
        for channel in range(3):
            filled_TC[start:stop, channel] = np.interp(np.arange(start, stop), own, track_TC[own, channel])
        filled_TC[start:stop] = _gaussian(filled_TC[start:stop], sigma)
    boxes_TC = _inside(filled_TC, size)
    gap_T = _gap_lengths(measured, len(valid_T))
    boxes_TC[gap_T > longest_fill] = 0
    return Squares(boxes_TC, valid_T, (gap_T > 0) & (gap_T <= longest_fill), int(gap_T.max()))


def _centre_and_log_side(points_TKC: npt.NDArray[np.floating[Any]]) -> Floats:
    """Float64 [T,3] of the grown box's square: centre x, y, logarithm of the side; NaN where points span none."""
    low_TC, high_TC = np.zeros((2, points_TKC.shape[0], 2))
    for start in range(0, len(low_TC), _CHUNK):
        part_TKC = np.asarray(points_TKC[start : start + _CHUNK], np.float64)[..., :2]
        low_TC[start : start + _CHUNK], high_TC[start : start + _CHUNK] = part_TKC.min(1), part_TKC.max(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        grow_TC = (high_TC - low_TC) * _GROW
        # Half of what is added to the width on each side; of the height three quarters above.
        low_TC -= grow_TC * (1 / 2, 3 / 4)
        high_TC += grow_TC * (1 / 2, 1 / 4)
        side_T = (high_TC - low_TC).max(axis=1)
        track_TC = np.concatenate([(low_TC + high_TC) / 2, np.log(side_T)[:, None]], axis=1)
    found_TC: Floats = np.where(np.isfinite(track_TC).all(axis=1, keepdims=True), track_TC, np.nan)
    return found_TC


def _reaches_inside(track_TC: Floats, size: tuple[int, int]) -> Flags:
    half_T1 = np.exp(track_TC[:, 2:]) / 2
    inside_TC = (track_TC[:, :2] + half_T1 > 0) & (track_TC[:, :2] - half_T1 < size)
    inside_T: Flags = inside_TC.all(axis=1)  # NaN compares as false
    return inside_T


def _shots(track_TC: Floats, measured: npt.NDArray[np.intp], frames: int) -> list[tuple[int, int]]:
    """Start and end of the runs of frames between cuts; a cut within a gap lies in its middle."""
    before, after = measured[:-1], measured[1:]
    moved = np.linalg.norm(track_TC[after, :2] - track_TC[before, :2], axis=1)
    side = np.exp(np.maximum(track_TC[after, 2], track_TC[before, 2]))
    at = np.flatnonzero(moved > _CUT_SIDES * side * (after - before))
    cuts = (before[at] + after[at] + 1) // 2
    edges = [0, *cuts.tolist(), frames]
    return list(pairwise(edges))


def _gaussian(track_TC: Floats, sigma: float) -> Floats:
    """Smoothed along the first axis; what lies beyond the ends does not count."""
    if sigma <= 0 or len(track_TC) < 2:
        return track_TC
    reach = min(math.ceil(_REACH * sigma), len(track_TC) - 1)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    total_T = np.convolve(np.ones(len(track_TC)), weights)[reach : reach + len(track_TC)]
    smooth_TC = np.empty_like(track_TC)
    for channel in range(track_TC.shape[1]):
        # About the first value: sums of large numbers lose digits.
        base = track_TC[0, channel]
        sums_T = np.convolve(track_TC[:, channel] - base, weights)[reach : reach + len(track_TC)]
        smooth_TC[:, channel] = base + sums_T / total_T
    return smooth_TC


def _inside(track_TC: Floats, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Boxes moved inside the frame; a side longer than the frame's shorter one is cut to it, so they stay square.
    A side is a pixel at least."""
    side_T1 = np.clip(np.exp(track_TC[:, 2:]), 1, min(size))
    low_TC = np.clip(track_TC[:, :2] - side_T1 / 2, 0, np.asarray(size) - side_T1)
    boxes_TC: npt.NDArray[np.float32] = np.concatenate([low_TC, low_TC + side_T1], axis=1).astype(np.float32)
    return boxes_TC


def _gap_lengths(measured: npt.NDArray[np.intp], frames: int) -> npt.NDArray[np.int64]:
    """How many frames in a row have no face, around each frame: int64 [T], 0 where it has one."""
    lengths = np.diff(measured, prepend=-1, append=frames) - 1
    # After each gap comes the measured frame that ends it.
    counts = np.stack([lengths, np.ones_like(lengths)], axis=1).ravel()[:-1]
    values = np.stack([lengths, np.zeros_like(lengths)], axis=1).ravel()[:-1]
    gap_T: npt.NDArray[np.int64] = np.repeat(values, counts).astype(np.int64)
    return gap_T

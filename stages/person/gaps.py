"""What is missing for a while: interpolated between the frames around, up to a limit, and told apart from the rest.

A gap at the clip's first or last frame is filled with what is nearest; so is one with a cut in it, each half from its
own side, because nothing lies between two shots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.person.coco_wholebody import FACE, LEFT_HAND, LEFT_WRIST, NOSE, RIGHT_HAND, RIGHT_WRIST
from stages.person.smooth import cuts_of

_CHUNK = 256  # frames filled at a time
#: Parts and the body point they hang on: a hand that is not seen goes with its wrist.
_HANGS_ON = ((FACE, NOSE), (LEFT_HAND, LEFT_WRIST), (RIGHT_HAND, RIGHT_WRIST))

Array = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Gaps:
    """Between which frames each value [T,...] lies: `share` of `after` and the rest of `before`."""

    filled: Bools  # where there is something to fill in
    before: Ints
    after: Ints
    share: Array


def find_gaps(present: Bools, limit: int, cuts_T: Bools, begins: bool = True, ends: bool = True) -> Gaps:
    """The gaps of at most `limit` frames in `present` [T,...].

    Args:
        cuts_T: bool [T], a cut lies between frames t-1 and t.
        begins, ends: whether frame 0 is the clip's first and frame T-1 its last.
    """
    frames = len(present)
    frame = np.arange(frames).reshape(-1, *[1] * (present.ndim - 1))
    before = np.maximum.accumulate(np.where(present, frame, -1), axis=0)
    after = np.minimum.accumulate(np.where(present, frame, frames)[::-1], axis=0)[::-1]
    first, last = before < 0, after >= frames
    filled = ~present & (after - before - 1 <= limit) & ~(first & last)
    filled &= (begins | ~first) & (ends | ~last)
    before, after = np.where(first, after, before), np.where(last, before, after)
    before, after = np.where(filled, before, frame), np.where(filled, after, frame)
    share = ((frame - before) / np.maximum(after - before, 1)).astype(np.float32)
    shot_T = np.cumsum(cuts_T)
    return Gaps(filled, before, after, np.where(shot_T[before] == shot_T[after], share, np.rint(share)))


def longest_gap(present_T: Bools) -> int:
    """Frames of the longest run without."""
    edges_T = np.flatnonzero(np.diff(np.concatenate([[True], present_T, [True]]).astype(np.int8)))
    return int(np.diff(edges_T.reshape(-1, 2), axis=1).max(initial=0))


def cuts_over_gaps(boxes_TC: npt.NDArray[np.floating[Any]], heights: float = 1.0) -> Bools:
    """`cuts_of` boxes [T,4] that also compares those before and after a gap (zeros): bool [T]."""
    present_T = boxes_TC[:, 3] > boxes_TC[:, 1]
    last_T = np.maximum.accumulate(np.where(present_T, np.arange(len(boxes_TC)), -1))
    return cuts_of(np.where((last_T >= 0)[:, None], boxes_TC[last_T], 0), heights)


def between(values: npt.NDArray[Any], gaps: Gaps, turn: float | None = None) -> npt.NDArray[Any]:
    """`values` [T,...] with the gaps [T] filled in, of the same type. `turn` is a full turn for angles."""
    start, stop = (values[index].astype(np.float64) for index in (gaps.before, gaps.after))
    change = stop - start
    if turn is not None:
        change = (change + turn / 2) % turn - turn / 2
    share = gaps.share.reshape(-1, *[1] * (values.ndim - 1))
    filled = gaps.filled.reshape(share.shape)
    moved = start + share * change
    if turn is not None:
        moved = (moved + turn / 2) % turn - turn / 2
    if np.issubdtype(values.dtype, np.integer):
        moved = np.rint(moved)
    result: npt.NDArray[Any] = np.where(filled, moved, values).astype(values.dtype)
    return result


def between_chunks(
    read: Callable[[int, int], npt.NDArray[Any]], gaps: Gaps, limit: int
) -> Iterator[npt.NDArray[Any]]:
    """`between` of the frames that `read(start, stop)` gives, a few hundred at a time."""
    frames = len(gaps.filled)
    for start in range(0, frames, _CHUNK):
        stop = min(start + _CHUNK, frames)
        low, high = max(0, start - limit), min(frames, stop + limit)
        rows = slice(start, stop)
        here = np.arange(start - low, stop - low)
        values = read(low, high)
        # Only frames of this chunk are filled; the rest of the window is where their neighbours lie.
        before, after = np.arange(high - low), np.arange(high - low)
        before[here], after[here] = gaps.before[rows] - low, gaps.after[rows] - low
        filled, share = np.zeros(high - low, bool), np.zeros(high - low, np.float32)
        filled[here], share[here] = gaps.filled[rows], gaps.share[rows]
        yield between(values, Gaps(filled, before, after, share))[here]


def fill_points(
    points_TKC: Array, limit: int, cuts_T: Bools, begins: bool = True, ends: bool = True
) -> tuple[Array, Bools]:
    """Whole-body points [T,133,3] with gaps of each point of at most `limit` frames filled in, and which: [T,133].

    Absent points have confidence 0; those filled in have one between their neighbours'. Face and hands keep their
    way with the nose and the wrists where these are there.
    """
    gaps = find_gaps(points_TKC[..., 2] > 0, limit, cuts_T, begins, ends)
    filled_TKC = _mix(points_TKC, gaps)
    for part, joint in _HANGS_ON:
        own = Gaps(*(getattr(gaps, name)[:, part] for name in Gaps.__slots__))
        base_TC = filled_TKC[:, joint, :2]
        there_T = filled_TKC[:, joint, 2] > 0
        away_TKC = points_TKC[:, part, :2] - base_TC[:, None]
        moved_TKC = _mix(away_TKC, own) + base_TC[:, None]
        hangs_TK = own.filled & there_T[:, None] & there_T[own.before] & there_T[own.after]
        filled_TKC[:, part, :2] = np.where(hangs_TK[..., None], moved_TKC, filled_TKC[:, part, :2])
    return filled_TKC, gaps.filled


def fill_chunks(
    read: Callable[[int, int], Array], frames: int, limit: int, cuts_T: Bools
) -> Iterator[tuple[Array, Bools]]:
    """`fill_points` of `frames` frames that `read(start, stop)` gives, some hundred at a time: the same numbers."""
    # A neighbour may be `limit` frames away, and what it hangs on be filled in from as far beyond.
    reach = 2 * limit
    for start in range(0, frames, _CHUNK):
        stop = min(start + _CHUNK, frames)
        low, high = max(0, start - reach), min(frames, stop + reach)
        points_TKC, filled_TK = fill_points(
            read(low, high), limit, cuts_T[low:high], low == 0, high == frames
        )
        yield points_TKC[start - low : stop - low], filled_TK[start - low : stop - low]


def _mix(points_TKC: Array, gaps: Gaps) -> Array:
    start_TKC = np.take_along_axis(points_TKC, gaps.before[..., None], axis=0)
    stop_TKC = np.take_along_axis(points_TKC, gaps.after[..., None], axis=0)
    mixed_TKC = start_TKC + gaps.share[..., None] * (stop_TKC - start_TKC)
    return np.where(gaps.filled[..., None], mixed_TKC, points_TKC)

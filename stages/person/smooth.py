"""Smoothing of points over time: zero-phase, weighted by confidence, never across a gap or a cut.

Filtering arrays that hold zeros in their gaps drags points towards the origin: hands jittered 5 to 10 times
more after it (measured). Here a frame looks only at neighbours it can reach through frames that have the point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

SIGMA = 0.8  # frames; halves the jitter of hands at 24 to 30 fps and does not lag (measured)
REACH = 4  # frames looked at on each side: five sigmas of the default
_CHUNK = 256  # frames smoothed at a time
_CUT_HEIGHTS = 1.0  # of the person's box, between two frames

Array = npt.NDArray[np.float32]


def smooth_TKC(
    points_TKC: npt.NDArray[np.floating[Any]],
    cuts_T: npt.NDArray[np.bool_] | None = None,
    sigma: float = SIGMA,
) -> Array:
    """Points [T,K,3] (x, y, confidence) smoothed by a Gaussian of `sigma` frames; confidence stays.

    Where confidence is 0 the point is absent and the result is zeros. `cuts_T[t]` says that a cut lies between
    frames t-1 and t. Returns float32 [T,K,3].
    """
    frames = len(points_TKC)
    confidence_TK = points_TKC[..., 2].astype(np.float64)
    position_TKC = points_TKC[..., :2].astype(np.float64)
    weighted_TKC = position_TKC * confidence_TK[..., None]
    present_TK = confidence_TK > 0
    cuts_T = np.zeros(frames, bool) if cuts_T is None else np.asarray(cuts_T, bool)
    total_TK = confidence_TK.copy()
    sum_TKC = weighted_TKC.copy()
    if sigma > 0:
        for forwards in (True, False):
            reached_TK = present_TK.copy()
            for step in range(1, min(REACH, frames - 1) + 1):
                # Frame t hears from frame t+step (or t-step) when every frame up to it has the point.
                to = slice(0, frames - step) if forwards else slice(step, frames)
                source = slice(step, frames) if forwards else slice(0, frames - step)
                uncut_T = ~cuts_T[step:] if forwards else ~cuts_T[1 : frames - step + 1]
                edge = slice(frames - step, frames) if forwards else slice(0, step)
                reached_TK[edge] = False
                reached_TK[to] &= present_TK[source] & uncut_T[:, None]
                weight_TK = reached_TK[to] * np.exp(-0.5 * (step / sigma) ** 2)
                total_TK[to] += weight_TK * confidence_TK[source]
                sum_TKC[to] += weight_TK[..., None] * weighted_TKC[source]
    smooth = np.zeros(points_TKC.shape, np.float32)
    smooth[..., :2] = np.divide(
        sum_TKC, total_TK[..., None], out=np.zeros_like(sum_TKC), where=present_TK[..., None]
    )
    smooth[..., 2] = points_TKC[..., 2]
    return smooth


def smooth_chunks(
    read: Callable[[int, int], npt.NDArray[np.floating[Any]]],
    frames: int,
    cuts_T: npt.NDArray[np.bool_] | None = None,
    sigma: float = SIGMA,
    chunk: int = _CHUNK,
) -> Iterator[Array]:
    """`smooth_TKC` of `frames` frames that `read(start, stop)` gives, `chunk` at a time: the same numbers."""
    for start in range(0, frames, chunk):
        stop = min(start + chunk, frames)
        low, high = max(0, start - REACH), min(frames, stop + REACH)
        cuts = None if cuts_T is None else cuts_T[low:high]
        yield smooth_TKC(read(low, high), cuts, sigma)[start - low : stop - low]


def cuts_of(boxes_TC: npt.NDArray[np.floating[Any]], heights: float = _CUT_HEIGHTS) -> npt.NDArray[np.bool_]:
    """Where a person's box [T,4] (x0 y0 x1 y1; zeros: absent) jumps by more than so many of its heights: bool [T],
    true when the jump is between t-1 and t."""
    boxes_TC = np.asarray(boxes_TC, np.float64)
    centre_TC = (boxes_TC[:, :2] + boxes_TC[:, 2:]) / 2
    height_T = boxes_TC[:, 3] - boxes_TC[:, 1]
    cuts_T = np.zeros(len(boxes_TC), bool)
    if len(boxes_TC) > 1:
        jump_T = np.linalg.norm(np.diff(centre_TC, axis=0), axis=1)
        both_T = (height_T[1:] > 0) & (height_T[:-1] > 0)
        cuts_T[1:] = both_T & (jump_T > heights * np.maximum(height_T[1:], height_T[:-1]))
    return cuts_T

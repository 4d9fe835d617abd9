"""What keypoints say about quality: where face and hands are, and how much they shake."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

BODY = slice(0, 17)  # in COCO-WholeBody order (Jin et al., ECCV 2020)


def boxes_around(points_TKC: Floats, least: float) -> npt.NDArray[np.float64]:
    """Each frame's box around its points of confidence `least` or more: float64 [T,4], NaN without any.

    points_TKC: float [T,K,3], x, y and confidence. Boxes are x0 y0 x1 y1 in the points' unit.
    """
    sure_TK1 = points_TKC[:, :, 2:] >= least
    low_TC = np.where(sure_TK1, points_TKC[:, :, :2], np.inf).min(axis=1)
    high_TC = np.where(sure_TK1, points_TKC[:, :, :2], -np.inf).max(axis=1)
    boxes_TC: npt.NDArray[np.float64] = np.concatenate([low_TC, high_TC], axis=1).astype(np.float64)
    boxes_TC[~np.isfinite(boxes_TC).all(axis=1)] = np.nan
    return boxes_TC


class Jitter:
    """Root mean square second difference of points over time, relative to a size: how much they shake.

    Three frames in a row must have the point, and no cut may lie between them: a gap is no motion.
    """

    def __init__(self, least: float) -> None:
        self._least = least
        self._sum, self._count = 0.0, 0

    def add(self, points_TKC: Floats, size_T: Floats, cut_T: npt.NDArray[np.bool_]) -> None:
        """Takes T neighbouring frames; the outer two only serve the others.

        points_TKC: float [T,K,3], x, y, confidence. size_T: float [T] in the points' unit; frames where it is
        not above 0 are left out. cut_T: bool [T-1], a cut after the frame.
        """
        if len(points_TKC) < 3:
            return
        place_TKC = points_TKC[:, :, :2].astype(np.float64)
        sure_TK = points_TKC[:, :, 2] >= self._least
        second_TKC = place_TKC[:-2] - 2 * place_TKC[1:-1] + place_TKC[2:]
        size_T1 = size_T[1:-1, None].astype(np.float64)
        use_TK = sure_TK[:-2] & sure_TK[1:-1] & sure_TK[2:] & (size_T1 > 0)
        use_TK &= ~(cut_T[:-1] | cut_T[1:])[:, None]
        square_TK = np.square(second_TKC).sum(axis=2) / np.square(np.where(size_T1 > 0, size_T1, 1.0))
        self._sum += float(square_TK[use_TK].sum())
        self._count += int(use_TK.sum())

    def percent(self) -> float | None:
        """In percent of the size; None when no three frames in a row had a point."""
        return 100 * float(np.sqrt(self._sum / self._count)) if self._count else None

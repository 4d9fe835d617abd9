"""What can be measured on pictures alone: brightness, contrast, sharpness and black borders."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from wanprep.media.geometry import Size
from wanprep.spool import ArraySpool
from wanprep.stage import ClipContext

Floats = npt.NDArray[np.floating[Any]]

_BLACK = 16  # luma, 0 to 255: coding noise in black bars stays under it
_SPECK = 0.01  # share of a row or column that may be brighter without ending the border


class PictureMeter:
    """Measures the gray pictures of one clip as they come.

    Keeps three numbers and a grid of sharpness cells a frame, so that places which are only known at the end
    (a face, a hand) can be measured without the pictures.
    """

    def __init__(self, context: ClipContext, size: Size, cell: int) -> None:
        width, height = size
        self.cell = min(cell, width, height)  # pixels
        self._columns, self._rows = width // self.cell, height // self.cell
        self.brightness_T = context.spool(np.float32)  # 0 to 1
        self.contrast_T = context.spool(np.float32)
        self.sharpness_T = context.spool(np.float32)
        # Roots of the cells' mean squared Laplacian: the squares themselves reach beyond float16.
        self.cells_THW: ArraySpool = context.spool(np.float16, self._rows, self._columns)
        self._brightest_HW = np.zeros((height, width), np.uint8)

    def add(self, gray_THW: npt.NDArray[np.uint8]) -> None:
        """Takes pictures in order, uint8 [T,H,W] of the meter's size."""
        count, height, width = gray_THW.shape
        brightness_T, contrast_T, sharpness_T = np.zeros((3, count), np.float32)
        cells_THW = np.zeros((count, self._rows, self._columns), np.float32)
        covered = np.s_[: self._rows * self.cell, : self._columns * self.cell]
        for index, gray_HW in enumerate(gray_THW):
            mean, deviation = cv2.meanStdDev(gray_HW)
            brightness_T[index], contrast_T[index] = mean.item() / 255, deviation.item() / 255
            # 16-bit integers hold a Laplacian exactly, five times faster than floats (measured).
            laplacian_HW = cv2.Laplacian(gray_HW, cv2.CV_16S)
            sharpness_T[index] = cv2.norm(laplacian_HW, cv2.NORM_L2SQR) / (width * height)
            square_HW = np.square(laplacian_HW[covered], dtype=np.float32)
            cv2.resize(
                square_HW, (self._columns, self._rows), dst=cells_THW[index], interpolation=cv2.INTER_AREA
            )
            np.maximum(self._brightest_HW, gray_HW, out=self._brightest_HW)
        self.brightness_T.append(brightness_T)
        self.contrast_T.append(contrast_T)
        self.sharpness_T.append(sharpness_T)
        self.cells_THW.append(np.sqrt(cells_THW))

    def black_border(self) -> list[float]:
        """Left, top, right, bottom: share of width or height that stays black; all 1 for a black clip."""
        lit_HW = self._brightest_HW > _BLACK
        shares = []
        for lit_N in (lit_HW.mean(axis=0), lit_HW.mean(axis=1)):
            seen = np.flatnonzero(lit_N > _SPECK)
            first, last = (seen[0], seen[-1]) if len(seen) else (len(lit_N), -1)
            shares.append((first / len(lit_N), (len(lit_N) - 1 - last) / len(lit_N)))
        (left, right), (top, bottom) = shares
        return [float(left), float(top), float(right), float(bottom)]


def box_sharpness(cells_THW: Floats, boxes_TC: Floats) -> npt.NDArray[np.float64]:
    """Mean squared Laplacian in one box a frame: float64 [T], NaN where the box is empty or outside.

    cells_THW: float [T,H,W], roots of the cells' mean squared Laplacian. boxes_TC: float [T,4], x0 y0 x1 y1
    in cells. A cell counts by its share inside the box.
    """
    _, rows, columns = cells_THW.shape
    across_TW = _overlap(boxes_TC[:, 0], boxes_TC[:, 2], columns)
    down_TH = _overlap(boxes_TC[:, 1], boxes_TC[:, 3], rows)
    area_T = across_TW.sum(axis=1) * down_TH.sum(axis=1)
    total_T = np.einsum("thw,th,tw->t", np.square(cells_THW, dtype=np.float64), down_TH, across_TW)
    return np.where(area_T > 0, total_T / np.where(area_T > 0, area_T, 1.0), np.nan)


def _overlap(low_T: Floats, high_T: Floats, cells: int) -> npt.NDArray[np.float64]:
    """How much of each cell lies between two positions: float64 [T, cells], 0 to 1."""
    place = np.arange(cells)
    low_T, high_T = np.nan_to_num(low_T)[:, None], np.nan_to_num(high_T)[:, None]
    overlap: npt.NDArray[np.float64] = np.clip(
        np.minimum(high_T, place + 1) - np.maximum(low_T, place), 0, 1, dtype=np.float64
    )
    return overlap

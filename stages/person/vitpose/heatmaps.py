"""After ViTPose-H: from its heatmaps to keypoints, by the distribution-aware decoding of Zhang et al. (CVPR 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.person.vitpose.pose_input import Crop
from wanprep.animate.compat import Compat

ROWS, COLUMNS = 64, 48  # of a heatmap
_KERNEL = 11  # of the blur
_SIGMA = 2.0  # of the blur, cells: what OpenCV takes for that kernel
_FAR = 2.0  # cells
_LEAST = 1e-10  # before the logarithm

Floats = npt.NDArray[np.float32]


def decode(
    heatmaps_BKHW: npt.NDArray[np.floating[Any]], crops: Sequence[Crop], compat: Compat = "robust"
) -> Floats:
    """Keypoints [B,K,3], float32: x, y in pixels of the frames that the crops are of, and confidence.

    The peak of each heatmap, moved by one Newton step on the logarithm of the blurred map unless it lies at the
    border; confidence is the peak's height before the blur, not clipped. A map without any height above 0 has its
    point at (-1, -1) of the map, as in the official code.

    Where the map around a peak is nearly flat, the official step leads anywhere: "robust" takes none beyond two cells.
    """
    batch, count, rows, columns = heatmaps_BKHW.shape
    maps_NHW = np.ascontiguousarray(heatmaps_BKHW, dtype=np.float32).reshape(-1, rows, columns)
    flat = maps_NHW.reshape(len(maps_NHW), -1)
    peak_N = flat.argmax(axis=1)
    confidence_N = flat[np.arange(len(flat)), peak_N]
    y_N, x_N = np.divmod(peak_N, columns)
    points_NC = np.stack([x_N, y_N], axis=1).astype(np.float32)
    inner = (x_N > 1) & (x_N < columns - 2) & (y_N > 1) & (y_N < rows - 2) & (confidence_N > 0)
    step_NC = _newton(maps_NHW[inner], x_N[inner], y_N[inner], confidence_N[inner])
    if compat == "robust":
        step_NC[~(np.abs(step_NC).max(axis=1, initial=0) <= _FAR)] = 0
    points_NC[inner] += step_NC
    points_NC[~(confidence_N > 0)] = -1
    points_BKC = points_NC.reshape(batch, count, 2)
    size_BC = np.array([[crop.width, crop.height] for crop in crops], np.float64)
    centre_BC = np.array([crop.centre for crop in crops], np.float64)
    scale_BC = size_BC / np.array([columns, rows])
    placed_BKC = points_BKC * scale_BC[:, None] + (centre_BC - size_BC / 2)[:, None]
    keypoints: Floats = np.concatenate([placed_BKC, confidence_N.reshape(batch, count, 1)], axis=2).astype(
        np.float32
    )
    return keypoints


def _newton(
    maps_NHW: Floats,
    x_N: npt.NDArray[np.intp],
    y_N: npt.NDArray[np.intp],
    confidence_N: Floats,
) -> Floats:
    """The step from each peak to the maximum of the blurred map's logarithm; float32 [N,2], 0 where there is none."""
    import cv2

    border = _KERNEL // 2
    count, _, columns = maps_NHW.shape
    if not count:
        return np.zeros((0, 2), np.float32)
    padded_NHW = np.pad(maps_NHW, ((0, 0), (border, border), (border, border)))
    # One picture of all maps, which the zeros between them keep apart: less than half the time of many blurs.
    tall_HW = padded_NHW.reshape(-1, columns + 2 * border)
    blurred_HW = np.asarray(cv2.GaussianBlur(tall_HW, (_KERNEL, _KERNEL), _SIGMA), np.float32)
    blurred_NHW = blurred_HW.reshape(padded_NHW.shape)[:, border:-border, border:-border]
    around = np.arange(-2, 3)
    place = (
        np.arange(count)[:, None, None],
        y_N[:, None, None] + around[:, None],
        x_N[:, None, None] + around,
    )
    scale_N = confidence_N / blurred_NHW.max(axis=(1, 2))
    patches_NHW = blurred_NHW[place] * scale_N[:, None, None]
    g = np.log(np.maximum(patches_NHW, _LEAST))
    dx, dy = (g[:, 2, 3] - g[:, 2, 1]) / 2, (g[:, 3, 2] - g[:, 1, 2]) / 2
    dxx = (g[:, 2, 4] - 2 * g[:, 2, 2] + g[:, 2, 0]) / 4
    dyy = (g[:, 4, 2] - 2 * g[:, 2, 2] + g[:, 0, 2]) / 4
    dxy = (g[:, 3, 3] - g[:, 1, 3] - g[:, 3, 1] + g[:, 1, 1]) / 4
    determinant = dxx * dyy - dxy * dxy
    safe = np.where(determinant != 0, determinant, 1)
    step = -np.stack([dyy * dx - dxy * dy, dxx * dy - dxy * dx], axis=1) / safe[:, None]
    step_NC: Floats = np.where((determinant != 0)[:, None], step, 0).astype(np.float32)
    return step_NC

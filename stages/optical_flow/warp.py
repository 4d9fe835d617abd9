"""Sampling along a flow: the forward-backward test, and how well a flow explains the second picture."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stages.optical_flow.estimator import FlowField, Gray

# Forward-backward test: |f + b|^2 < 0.01 (|f|^2 + |b|^2) + 0.5 (Sundaram, Brox and Keutzer, ECCV 2010).
_RELATIVE, _ABSOLUTE = 0.01, 0.5

# Similarity constants for luma 0 to 255: (0.01 * 255)^2 and (0.03 * 255)^2 (Wang et al., SSIM, TIP 2004).
_C1, _C2 = 6.5025, 58.5225
# Compared as means of 4x4 pixels: noise and fine texture, which flow cannot place, average out.
_COARSE = 4

Coordinates = npt.NDArray[np.float32]


class Grid:
    """Pixel coordinates of one picture size."""

    def __init__(self, width: int, height: int) -> None:
        self._x_1W = np.arange(width, dtype=np.float32)[None, :]
        self._y_H1 = np.arange(height, dtype=np.float32)[:, None]

    def target(self, flow_HWC: FlowField, step: int = 1) -> tuple[Coordinates, Coordinates]:
        """x and y in the second picture of each `step`-th pixel of the first: float32 [H,W] each."""
        every_HWC = flow_HWC[::step, ::step]
        return self._x_1W[:, ::step] + every_HWC[..., 0], self._y_H1[::step] + every_HWC[..., 1]


def consistent_HW(forward_HWC: FlowField, backward_HWC: FlowField, grid: Grid) -> npt.NDArray[np.bool_]:
    """Where going forward and back again returns to the start, bool [H,W]; not where flow leaves the picture.

    Both flows are float32 [H,W,2] in pixels, of one size.
    """
    height, width = forward_HWC.shape[:2]
    x_HW, y_HW = grid.target(forward_HWC)
    back_HWC = _sampled(backward_HWC, x_HW, y_HW)
    gap_HW = _squared_length(forward_HWC + back_HWC)
    size_HW = _squared_length(forward_HWC) + _squared_length(back_HWC)
    inside_HW = (x_HW > -0.5) & (x_HW < width - 0.5) & (y_HW > -0.5) & (y_HW < height - 0.5)
    agree_HW: npt.NDArray[np.bool_] = (gap_HW < _RELATIVE * size_HW + _ABSOLUTE) & inside_HW
    return agree_HW


def _sampled(picture: Any, x_HW: Coordinates, y_HW: Coordinates) -> Any:
    """A picture's values between its pixels, its edge continued outwards."""
    return cv2.remap(picture, x_HW, y_HW, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _squared_length(flow_HWC: FlowField) -> npt.NDArray[np.float32]:
    x_HW, y_HW = flow_HWC[..., 0], flow_HWC[..., 1]
    return np.asarray(x_HW * x_HW + y_HW * y_HW, dtype=np.float32)


def similarity(first_HW: Gray, second_HW: Gray, flow_HWC: FlowField, grid: Grid) -> float:
    """How alike the first picture and the second one moved back along the flow are, -1 to 1 (1: the same).

    One structural similarity (Wang et al., TIP 2004) over the whole picture, so a shift of brightness costs
    little and a change of content much. Pictures are uint8 [H,W].
    """
    x_HW, y_HW = grid.target(flow_HWC, _COARSE)
    window = (_COARSE, _COARSE)
    moved_HW = _sampled(cv2.blur(second_HW, window), x_HW, y_HW)
    first = cv2.blur(first_HW, window)[::_COARSE, ::_COARSE].astype(np.float64).ravel()
    second = moved_HW.astype(np.float64).ravel()
    mean_1, mean_2 = float(first.mean()), float(second.mean())
    first -= mean_1
    second -= mean_2
    variance = float(first @ first + second @ second) / len(first)
    covariance = float(first @ second) / len(first)
    luminance = (2 * mean_1 * mean_2 + _C1) / (mean_1**2 + mean_2**2 + _C1)
    return luminance * (2 * covariance + _C2) / (variance + _C2)

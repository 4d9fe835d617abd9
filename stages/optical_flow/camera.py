"""What the camera did between two frames: a shift and a zoom, fitted to the flow along sides and top."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from stages.optical_flow.estimator import FlowField, Gray

Doubles = npt.NDArray[np.float64]

_BORDER = 0.2  # of the shorter side: people are in the middle, the border shows more of the room
_EDGE = 0.02  # of the shorter side, left out: what leaves the picture has no true flow
_SAMPLES = 40  # across the shorter side; flow is smooth at that distance
_ROUNDS = 5
_SETTLED = (
    0.01  # pixels that a round must move the camera's flow anywhere, or it is the last: far under DIS's error
)
_SPREAD = 1.4826  # standard deviations in a median absolute deviation of normal noise
_LEAST_SPREAD = 0.05  # pixels, about the error of DIS on a still picture
_TEXTURE = 4.0  # luma a pixel; flow of flatter places is guessed from their surroundings
# Places trusted less than the first vote for "still", with the second as their weight: a plain backdrop
# outvotes the person before it, and a pan over half a plain wall still outvotes the wall.
_FLAT, _FLAT_WEIGHT = 0.1, 0.1
_COARSE = 4  # pixels between the places where the camera's own flow, which is linear, is averaged
_PRIOR = 1e-3  # share of a full weight that says "still": keeps the equations solvable


@dataclass(frozen=True, slots=True)
class Camera:
    """Picture motion `shift + (zoom - 1) * (position - centre)`, in pixels a frame step."""

    shift_x: float = 0.0
    shift_y: float = 0.0
    zoom: float = 1.0


class CameraFit:
    """Fits the camera for flows of one size.

    Least squares, re-weighted by a Cauchy function of the residual, so that a person at the border counts
    little; a median would take a zoom, whose flow points all ways, for a still camera.
    """

    def __init__(self, width: int, height: int) -> None:
        x_W = np.arange(width, dtype=np.float32) - (width - 1) / 2
        y_H = np.arange(height, dtype=np.float32) - (height - 1) / 2
        self._x_1W, self._y_H1 = x_W[None, :], y_H[:, None]
        side = min(width, height)
        from_sides_W = np.minimum(np.arange(width), np.arange(width)[::-1])
        from_top_H, from_bottom_H = np.arange(height), np.arange(height)[::-1]
        # Not the lower border, on which people stand.
        border_HW = (from_sides_W <= _BORDER * side)[None, :] | (from_top_H <= _BORDER * side)[:, None]
        border_HW &= (from_sides_W >= _EDGE * side)[None, :]
        border_HW &= (np.minimum(from_top_H, from_bottom_H) >= _EDGE * side)[:, None]
        stride = max(1, round(side / _SAMPLES))
        border_HW &= (np.arange(width) % stride == 0)[None, :] & (np.arange(height) % stride == 0)[:, None]
        rows_N, columns_N = np.nonzero(border_HW)
        if not len(rows_N):  # a picture of a few pixels
            rows_N, columns_N = np.nonzero(np.ones((height, width), dtype=bool))
        self._rows_N, self._columns_N = rows_N, columns_N
        self._x_N, self._y_N = x_W[columns_N].astype(np.float64), y_H[rows_N].astype(np.float64)
        self._reach = max(1.0, float(np.hypot(self._x_N, self._y_N).max()))
        self._last_row, self._last_column = height - 1, width - 1

    def fit(self, flow_HWC: FlowField, gray_HW: Gray) -> Camera:
        """The camera of one pair: its flow, float32 [H,W,2] pixels, and its first picture, uint8 [H,W]."""
        flow_NC = flow_HWC[self._rows_N, self._columns_N].astype(np.float64)
        trust_N = self._texture(gray_HW)
        flat_N = trust_N < _FLAT
        flow_NC[flat_N] = 0.0
        trust_N[flat_N] = _FLAT_WEIGHT
        camera = np.array([*_weighted_median(flow_NC, trust_N), 0.0])
        for _ in range(_ROUNDS):
            off_x_N = flow_NC[:, 0] - camera[0] - camera[2] * self._x_N
            off_y_N = flow_NC[:, 1] - camera[1] - camera[2] * self._y_N
            residual_N = np.hypot(off_x_N, off_y_N)
            spread = max(_LEAST_SPREAD, _SPREAD * _weighted_median(residual_N[:, None], trust_N)[0])
            weight_N = trust_N / (1 + (residual_N / spread) ** 2)
            last, camera = camera, self._solve(flow_NC, weight_N)
            if np.abs((camera - last) * (1.0, 1.0, self._reach)).max() < _SETTLED:
                break
        return Camera(float(camera[0]), float(camera[1]), 1 + float(camera[2]))

    def lengths(self, camera: Camera, flow_HWC: FlowField) -> tuple[float, float]:
        """Mean length of the flow less the camera's, and of the camera's flow, over the picture in pixels."""
        rate = np.float32(camera.zoom - 1)
        camera_x_1W = self._x_1W * rate + np.float32(camera.shift_x)
        camera_y_H1 = self._y_H1 * rate + np.float32(camera.shift_y)
        own_HW = cv2.magnitude(flow_HWC[..., 0] - camera_x_1W, flow_HWC[..., 1] - camera_y_H1)
        camera_HW = np.hypot(camera_x_1W[:, ::_COARSE], camera_y_H1[::_COARSE])
        return cv2.mean(own_HW)[0], float(camera_HW.mean(dtype=np.float64))

    def _solve(self, flow_NC: Doubles, weight_N: Doubles) -> Doubles:
        """Weighted least squares for shift x, shift y and zoom - 1."""
        x_N, y_N = self._x_N, self._y_N
        total, along_x, along_y = weight_N.sum(), weight_N @ x_N, weight_N @ y_N
        across = weight_N @ (x_N * x_N + y_N * y_N)
        prior = _PRIOR * len(weight_N)
        normal = np.array(
            [[total + prior, 0.0, along_x], [0.0, total + prior, along_y], [along_x, along_y, across]]
        )
        normal[2, 2] += prior * self._reach**2
        u_N, v_N = flow_NC[:, 0], flow_NC[:, 1]
        side = np.array([weight_N @ u_N, weight_N @ v_N, weight_N @ (x_N * u_N + y_N * v_N)])
        return np.linalg.solve(normal, side)

    def _texture(self, gray_HW: Gray) -> Doubles:
        """How far the flow at each sample can be trusted, 0 to 1: by the steepness of the luma there."""
        rows_N, columns_N = self._rows_N, self._columns_N
        right_N, left_N = np.minimum(columns_N + 1, self._last_column), np.maximum(columns_N - 1, 0)
        below_N, above_N = np.minimum(rows_N + 1, self._last_row), np.maximum(rows_N - 1, 0)
        slope_x_N = (gray_HW[rows_N, right_N].astype(np.float64) - gray_HW[rows_N, left_N]) / 2
        slope_y_N = (gray_HW[below_N, columns_N].astype(np.float64) - gray_HW[above_N, columns_N]) / 2
        steep_N = slope_x_N**2 + slope_y_N**2
        trust_N: Doubles = steep_N / (steep_N + _TEXTURE**2)
        return trust_N


def _weighted_median(values_NC: Doubles, weight_N: Doubles) -> list[float]:
    """The median of each column; zeros when nothing has weight."""
    total = float(weight_N.sum())
    if total <= 0:
        return [0.0] * values_NC.shape[1]
    medians = []
    for values_N in values_NC.T:
        order_N = np.argsort(values_N, kind="stable")
        place = np.searchsorted(np.cumsum(weight_N[order_N]), total / 2)
        medians.append(float(values_N[order_N[min(int(place), len(order_N) - 1)]]))
    return medians

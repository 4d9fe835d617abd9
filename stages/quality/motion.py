"""How much moves in a clip, apart from its camera, and where it is cut: measured on small pictures of its own, so
that the numbers do not change with the settings of the stage `flow`."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from stages.optical_flow.camera import CameraFit
from stages.optical_flow.estimator import DisEstimator
from stages.optical_flow.warp import Grid, similarity
from wanprep.media.geometry import Size
from wanprep.spool import ArraySpool
from wanprep.stage import ClipContext

Gray = npt.NDArray[np.uint8]

_CUT_SIMILARITY = (
    0.6  # as in the stage `flow`: at least 0.94 within shots, at most 0.56 across cuts (measured)
)


class MotionMeter:
    """Takes a clip's gray pictures in order and keeps two sums and a flag a pair of frames."""

    def __init__(self, context: ClipContext, width: int, height: int, short_side: int) -> None:
        # Whole pixels to a pixel: five times faster to shrink than by a fraction (measured).
        self._step = max(1, min(width, height) // short_side)
        self._size: Size = (width // self._step, height // self._step)
        self._estimator = DisEstimator("ultrafast")
        self._grid = Grid(*self._size)
        self._fit = CameraFit(*self._size)
        self._last_HW: Gray | None = None
        self._motion = self._camera = 0.0  # pixels
        self._connected = 0  # pairs that are no cut
        self.cut_T: ArraySpool = context.spool(np.bool_)  # a cut after the frame

    def add(self, gray_THW: Gray) -> None:
        """Takes pictures uint8 [T,H,W] of any one size."""
        for gray_HW in gray_THW:
            small_HW = np.asarray(
                cv2.resize(gray_HW, self._size, interpolation=cv2.INTER_AREA), dtype=np.uint8
            )
            if self._last_HW is not None:
                self._add_pair(self._last_HW, small_HW)
            self._last_HW = small_HW

    def _add_pair(self, first_HW: Gray, second_HW: Gray) -> None:
        cut = False
        if np.array_equal(first_HW, second_HW):
            self._connected += 1
        else:
            flow_HWC = self._estimator.flow_HWC(first_HW, second_HW)
            cut = similarity(first_HW, second_HW, flow_HWC, self._grid) < _CUT_SIMILARITY
            if not cut:
                motion, camera = self._fit.lengths(self._fit.fit(flow_HWC, first_HW), flow_HWC)
                self._motion += motion
                self._camera += camera
                self._connected += 1
        self.cut_T.append([cut])

    def percent_per_second(self, fps: float) -> tuple[float, float] | None:
        """Mean motion and camera motion in percent of the picture's width a second; None without a pair."""
        if not self._connected:
            return None
        percent = 100 * fps / (self._size[0] * self._connected)
        return self._motion * percent, self._camera * percent

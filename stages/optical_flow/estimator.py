"""Dense optical flow between two pictures, behind an interface that other estimators can take."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import cv2
import numpy as np
import numpy.typing as npt

Gray = npt.NDArray[np.uint8]
FlowField = npt.NDArray[np.float32]

Preset = Literal["ultrafast", "fast", "medium"]
_PRESETS: dict[Preset, int] = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
# OpenCV 4.11's DIS crashes or refuses pictures that leave its pyramid a level thinner than a patch, such as
# 40x10 and 400x8; none of 32x1000 and larger did (measured).
_MIN_SIDE = 64
_MAX_ASPECT = 8


class Estimator(Protocol):
    """Flow estimators keep no state between calls, so that pairs may be computed in any order."""

    def flow_HWC(self, first_HW: Gray, second_HW: Gray) -> FlowField:
        """Where each pixel of the first picture is in the second: float32 [H,W,2], x and y in pixels.

        Both pictures are uint8 [H,W] luma, 0 to 255, contiguous and of one size.
        """


class DisEstimator:
    """Dense Inverse Search (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016)."""

    def __init__(self, preset: Preset) -> None:
        self._dis: Any = cv2.DISOpticalFlow_create(_PRESETS[preset])  # type: ignore[attr-defined, unused-ignore]

    def flow_HWC(self, first_HW: Gray, second_HW: Gray) -> FlowField:
        height, width = first_HW.shape
        least = max(_MIN_SIDE, -(-max(height, width) // _MAX_ASPECT))
        bottom, right = max(0, least - height), max(0, least - width)
        if bottom or right:
            first_HW, second_HW = _extended(first_HW, bottom, right), _extended(second_HW, bottom, right)
        flow_HWC: FlowField = self._dis.calc(first_HW, second_HW, None)
        return np.ascontiguousarray(flow_HWC[:height, :width])


def _extended(picture_HW: Gray, bottom: int, right: int) -> Gray:
    return np.pad(picture_HW, ((0, bottom), (0, right)), mode="edge")

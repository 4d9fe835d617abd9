"""Before ViTPose-H: from a person's box to the network's input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from wanprep.media.image import RGB

WIDTH, HEIGHT = 192, 256  # pixels of the network's input
_MARGIN = 1.25  # of the box, around its centre
_MEAN = np.array([0.485, 0.456, 0.406])  # of ImageNet, in the order that the channels have here
_STD = np.array([0.229, 0.224, 0.225])


@dataclass(frozen=True, slots=True)
class Crop:
    """What of a frame the network sees: a box of its input's aspect, in pixels of the frame, also over the border."""

    centre: tuple[float, float]
    width: float
    height: float

    @property
    def corners(self) -> tuple[int, int, int, int]:
        """x0 y0 x1 y1 of the pixels taken, rounded half to even."""
        (x, y), wide, tall = self.centre, self.width, self.height
        return round(x - wide / 2), round(y - tall / 2), round(x + wide / 2), round(y + tall / 2)


def crop_of(box_C: npt.NDArray[np.floating[Any]]) -> Crop:
    """The crop of a person's box x0 y0 x1 y1: 1.25 times it, in the network's aspect."""
    x0, y0, x1, y1 = (float(value) for value in box_C[:4])
    tall = _MARGIN * max((x1 - x0) * HEIGHT / WIDTH, y1 - y0)
    return Crop(((x0 + x1) / 2, (y0 + y1) / 2), tall * WIDTH / HEIGHT, tall)


def cut(frame_HWC: RGB, crop: Crop) -> RGB:
    """The crop's pixels, black outside the frame: uint8 [h,w,3]."""
    height, width = frame_HWC.shape[:2]
    x0, y0, x1, y1 = crop.corners
    cut_HWC = np.zeros((max(y1 - y0, 1), max(x1 - x0, 1), 3), np.uint8)
    left, top = max(x0, 0), max(y0, 0)
    inside_HWC = frame_HWC[top : min(y1, height), left : min(x1, width)]
    if inside_HWC.size:
        below, beside = top - y0, left - x0
        cut_HWC[below : below + inside_HWC.shape[0], beside : beside + inside_HWC.shape[1]] = inside_HWC
    return cut_HWC


def pose_input(
    frames: Sequence[RGB], crops: Sequence[Crop], channels: Literal["bgr", "rgb"] = "bgr"
) -> npt.NDArray[np.float32]:
    """One crop of each RGB frame [H,W,3]: float32 [B,3,256,192], normalised by ImageNet's mean and deviation.

    The official code gives the network blue first while the numbers of the normalisation stay in place; "rgb" does
    not exchange the channels.
    """
    import cv2

    # Scaled as floating point, as in the official code: whole numbers differ by up to 0.013 after normalising.
    sized = [
        cv2.resize(cut(frame, crop).astype(np.float32), (WIDTH, HEIGHT))
        for frame, crop in zip(frames, crops, strict=True)
    ]
    pixels_BHWC = np.stack(sized)
    if channels == "bgr":
        pixels_BHWC = pixels_BHWC[..., ::-1]
    # In double precision, as the official code does it.
    normalised_BHWC = (pixels_BHWC / 255 - _MEAN) / _STD
    return np.ascontiguousarray(normalised_BHWC.transpose(0, 3, 1, 2), dtype=np.float32)

"""The face crop of the Wan2.2 official preprocessing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from wanprep.animate.compat import Compat, OfficialFailure
from wanprep.media.image import RGB

FACE_SIDE = 512  # pixels, of what the generator's face encoder is fed
_AREA = 1.3  # of the points' box

Box = npt.NDArray[np.int32]


def face_box(
    points_KC: npt.NDArray[np.floating[Any]], width: int, height: int, compat: Compat = "robust"
) -> Box:
    """The box around the 68 face points (pixels) of a frame: int32 [4] x0 y0 x1 y1, exclusive.

    The points' box, its area grown to 1.3 times with its aspect; the width grows evenly to both sides, three
    quarters of the height upwards. Confidence is not looked at.

    Under "robust" the box is inside the frame, and zeros when no face is there: the points lie beyond the border,
    on one line, or are not finite. Under "official" a face left of or above the frame has a negative end, with which
    `crop_face` takes pixels from the far side.

    Raises:
        OfficialFailure: the points lie on one line, or are not finite, under "official".
    """
    if compat == "robust" and not np.isfinite(points_KC[:, :2]).all():
        return np.zeros(4, np.int32)
    low, high = points_KC[:, :2].min(0), points_KC[:, :2].max(0)
    grow = math.sqrt(_AREA) - 1
    if compat == "official" and not (high > low).all():
        raise OfficialFailure("the face points span no box")
    wide, tall = (high - low) * grow
    x0, y0 = int(max(low[0] - wide / 2, 0)), int(max(low[1] - 3 * tall / 4, 0))
    x1, y1 = int(min(high[0] + wide / 2, width)), int(min(high[1] + tall / 4, height))
    if compat == "robust" and (x0 >= x1 or y0 >= y1):
        return np.zeros(4, np.int32)
    return np.array([x0, y0, x1, y1], np.int32)


def square_box(box_C: Box, width: int, height: int) -> Box:
    """The box with its shorter side grown to the longer, about its centre, moved inside the frame; shorter again
    where the frame itself is. An empty box stays empty. int32 [4]."""
    x0, y0, x1, y1 = box_C.tolist()
    if x0 >= x1 or y0 >= y1:
        return np.zeros(4, np.int32)
    side = max(x1 - x0, y1 - y0)
    wide, tall = min(side, width), min(side, height)
    left = min(max((x0 + x1 - wide) // 2, 0), width - wide)
    top = min(max((y0 + y1 - tall) // 2, 0), height - tall)
    return np.array([left, top, left + wide, top + tall], np.int32)


def crop_face(frame_HWC: RGB, box_C: Box, side: int = FACE_SIDE, compat: Compat = "robust") -> RGB:
    """The box's pixels stretched to a square of `side` by OpenCV's bilinear filter; uint8 [side, side, 3].

    Under "robust" an empty box, or one beyond the frame, gives black.

    Raises:
        OfficialFailure: there are no pixels in the box, under "official".
    """
    import cv2

    x0, y0, x1, y1 = box_C.tolist()
    if compat == "robust":
        x0, y0 = max(x0, 0), max(y0, 0)
        x1, y1 = max(x1, 0), max(y1, 0)
    crop_HWC = frame_HWC[y0:y1, x0:x1]  # a negative end counts from the far side, as in the official code
    if not crop_HWC.size:
        if compat == "official":
            raise OfficialFailure("the face lies outside the frame")
        return np.zeros((side, side, 3), np.uint8)
    return np.asarray(cv2.resize(crop_HWC, (side, side)), np.uint8)

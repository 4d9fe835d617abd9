"""Brings the subject's mask to the size that is generated at, in the place of the picture."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from wanprep.media.geometry import Size
from wanprep.media.image import letterbox_box

_HALF = 128  # of 255: pixels that are at least half covered belong to the mask


def scale_mask(mask_HW: npt.NDArray[np.bool_], source: Size, size: Size) -> npt.NDArray[np.uint8]:
    """A mask of the whole picture as 0 and 1, uint8 [height, width] of `size`, 0 beside the letterboxed picture.

    Args:
        mask_HW: at any size.
        source: width, height of the picture that it belongs to.
        size: width, height to come to.
    """
    x0, y0, x1, y1 = letterbox_box(source, size)
    inner = (x1 - x0, y1 - y0)
    scaled = mask_HW.view(np.uint8)
    if inner != scaled.shape[::-1]:
        shrinks = inner[0] * inner[1] < scaled.size
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        grey_HW = cv2.resize(scaled * np.uint8(255), inner, interpolation=how)
        scaled = (grey_HW >= _HALF).astype(np.uint8)
    placed_HW = np.zeros((size[1], size[0]), np.uint8)
    placed_HW[y0:y1, x0:x1] = scaled
    return placed_HW

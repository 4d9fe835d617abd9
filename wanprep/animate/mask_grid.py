"""What replacement generates anew: the person's mask, dilated and coarsened to a grid; and what is left around it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wanprep.animate.compat import Compat, OfficialFailure
from wanprep.media.image import RGB

Mask = npt.NDArray[np.uint8]


def dilate(mask_HW: Mask, iterations: int = 3, side: int = 7) -> Mask:
    """A mask of 0 and 1 grown `iterations` times by a square of `side` pixels."""
    import cv2

    kernel = np.ones((side, side), np.uint8)
    return np.asarray(cv2.dilate(mask_HW, kernel, iterations=iterations), np.uint8)


def fill_grid(mask_HW: Mask, columns: int = 1, rows: int = 1, compat: Compat = "robust") -> Mask:
    """A mask with every cell of a grid over its bounding box filled that holds a pixel of it.

    Cells are as large as whole pixels allow; what is left over makes further ones. The box's last row and column
    belong to no cell (official rule). One cell makes the box a rectangle.

    Under "robust" an empty mask stays as it is, and a box narrower than its cells are many has cells of one pixel.

    Raises:
        OfficialFailure: such a mask, under "official".
    """
    lines_H, lines_W = mask_HW.any(axis=1), mask_HW.any(axis=0)
    if not lines_H.any():
        if compat == "official":
            raise OfficialFailure("the mask is empty")
        return mask_HW.copy()
    top, bottom = _ends(lines_H)
    left, right = _ends(lines_W)
    high, wide = (bottom - top) // rows, (right - left) // columns
    if compat == "official" and not (high and wide):
        raise OfficialFailure(f"the mask's box has fewer pixels than {columns} columns and {rows} rows need")
    filled_HW = mask_HW.copy()
    if top == bottom or left == right:
        return filled_HW
    starts_Y = np.arange(0, bottom - top, max(high, 1))
    starts_X = np.arange(0, right - left, max(wide, 1))
    inside_HW = mask_HW[top:bottom, left:right]
    cells_YX = np.maximum.reduceat(np.maximum.reduceat(inside_HW, starts_Y, axis=0), starts_X, axis=1)
    cell_H = np.repeat(np.arange(len(starts_Y)), np.diff(starts_Y, append=bottom - top))
    cell_W = np.repeat(np.arange(len(starts_X)), np.diff(starts_X, append=right - left))
    filled_HW[top:bottom, left:right] = cells_YX[np.ix_(cell_H, cell_W)] > 0
    return filled_HW


def augment_mask(
    mask_HW: Mask,
    iterations: int = 3,
    side: int = 7,
    columns: int = 1,
    rows: int = 1,
    compat: Compat = "robust",
) -> Mask:
    """The mask of what is generated: dilated and filled by the grid; as it is with no iterations.

    Raises:
        OfficialFailure: as `fill_grid` does.
    """
    if iterations <= 0:
        return mask_HW.copy()
    return fill_grid(dilate(mask_HW, iterations, side), columns, rows, compat)


def background(rgb_HWC: RGB, mask_HW: Mask) -> RGB:
    """The frame with black where the mask (0 and 1) is set; uint8 [H,W,3]."""
    return rgb_HWC * (1 - mask_HW)[:, :, None].astype(np.uint8)


def _ends(lines: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """First and last index that is set."""
    return int(lines.argmax()), int(len(lines) - 1 - lines[::-1].argmax())

"""Brings pictures to the size they are coded at."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from wanprep.errors import MediaError
from wanprep.media.geometry import Size
from wanprep.media.image import centre_crop, fit_s2v, letterbox, resize_stretch
from wanprep.media.window import Window

Fit: TypeAlias = Literal["cover", "letterbox", "stretch"]
PictureFit: TypeAlias = Literal["letterbox", "s2v", "cover", "stretch"]
Pixels: TypeAlias = npt.NDArray[np.uint8]

_MOST_CUT = 8  # times the wanted size that a scaled picture may be: strips would need pictures without end


def fit_window(window: Window, size: Size, fit: Fit) -> Pixels:
    """A window's frames, uint8 [T, height, width, 3] of `size` (width, height)."""
    width, height = size
    if fit == "stretch":
        return window.rgb_THWC(size)
    inner = _inner(window.width, window.height, size, cover=fit == "cover")
    scaled_THWC = window.rgb_THWC(inner)
    if inner == size:
        return scaled_THWC
    left, top = (inner[0] - width) // 2, (inner[1] - height) // 2
    if fit == "cover":
        return scaled_THWC[:, top : top + height, left : left + width]
    framed_THWC = np.zeros((len(window), height, width, 3), np.uint8)
    framed_THWC[:, -top : -top + inner[1], -left : -left + inner[0]] = scaled_THWC
    return framed_THWC


def fit_picture(rgb_HWC: Pixels, size: Size, fit: PictureFit) -> Pixels:
    """One picture, uint8 [height, width, 3] of `size` (width, height).

    letterbox and s2v are the rules of the official code for the reference: of Wan2.2-Animate (the whole picture,
    OpenCV's bilinear filter, black beside it), and of Wan2.2-S2V (its shorter side to the size's shorter side, Pillow's
    bilinear filter, the middle cut out, black where it does not reach).
    """
    if fit == "letterbox":
        return letterbox(rgb_HWC, size)
    if fit == "s2v":
        check_strip(rgb_HWC.shape[1], rgb_HWC.shape[0], size, min(size) / min(rgb_HWC.shape[:2]))
        return fit_s2v(rgb_HWC, size)
    if fit == "stretch":
        return resize_stretch(rgb_HWC, size)
    height, width = rgb_HWC.shape[:2]
    return centre_crop(resize_stretch(rgb_HWC, _inner(width, height, size, cover=True)), size)


def _inner(width: int, height: int, size: Size, *, cover: bool) -> Size:
    """The size of the whole picture, aspect kept, so that it covers `size` or fits within it; one side is exact."""
    across, down = size[0] / width, size[1] / height
    scale = max(across, down) if cover else min(across, down)
    check_strip(width, height, size, scale)
    clip = max if cover else min
    # Even, so that a video's halved colour planes keep their place.
    wide, high = (round(side * scale / 2) * 2 for side in (width, height))
    return max(2, clip(size[0], wide)), max(2, clip(size[1], high))


def check_strip(width: int, height: int, size: Size, scale: float) -> None:
    """Refuses pictures that would be far larger than `size` once they are scaled.

    Raises:
        MediaError: such a one.
    """
    if max(width * scale / size[0], height * scale / size[1]) > _MOST_CUT:
        raise MediaError(
            f"a picture of {width}x{height} is too long a strip to fill {size[0]}x{size[1]}; letterbox or stretch it"
        )

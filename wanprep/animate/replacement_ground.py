"""What replacement keeps of the driving video: its frames at the size that is generated at, black where the person is.

The one rule that the stages, the exporters and the generators follow.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from wanprep.animate.mask_grid import background
from wanprep.media.geometry import Size
from wanprep.media.image import letterbox
from wanprep.media.window import Window

Pictures = npt.NDArray[np.uint8]


def video_at_size_THWC(window: Window, size: Size) -> Pictures:
    """A window's frames letterboxed to `size` (width, height); uint8 [T, height, width, 3].

    By OpenCV's area filter where they get fewer pixels, its bilinear filter otherwise, so that both bars and mask lie
    where those of the Wan2.2 official code lie.
    """
    width, height = size
    how: Literal["bilinear", "area"] = "area" if width * height < window.width * window.height else "bilinear"
    return np.stack([letterbox(rgb_HWC, size, how) for rgb_HWC in window.rgb_THWC()])


def ground_THWC(
    video_THWC: Pictures, replaced_THW: npt.NDArray[np.bool_] | npt.NDArray[np.integer[Any]]
) -> Pictures:
    """Frames with black where the person is replaced; uint8 [T, height, width, 3].

    Args:
        video_THWC: uint8 frames at the mask's size, as `video_at_size_THWC` makes them.
        replaced_THW: bool or 0 and 1, set where the person is replaced.

    Raises:
        ValueError: mask and frames differ in number or size.
    """
    if video_THWC.shape[:3] != replaced_THW.shape:
        raise ValueError(f"masks {replaced_THW.shape} do not belong to frames {video_THWC.shape}")
    masks_THW = replaced_THW.astype(np.uint8)
    return np.stack(
        [background(rgb_HWC, mask_HW) for rgb_HWC, mask_HW in zip(video_THWC, masks_THW, strict=True)]
    )

"""Pose pictures at the size of the reference, as Wan2.2-S2V's official code brings them there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stages.latents.fit import check_strip
from wanprep.media.geometry import Size
from wanprep.media.image import RGB, centre_crop, short_side_size

Floats = npt.NDArray[np.float32]


def fit_pose(rgb_HWC: RGB, size: Size) -> Floats:
    """A pose picture in `size` (width, height), float32 [height, width, 3] in -1 to 1, not rounded to levels.

    The order is the official code's: to -1 to 1, then the shorter side to the size's shorter side with an antialiased
    bilinear filter, then the middle; where the picture does not reach there is 0, which is grey, where the reference
    has black.

    Raises:
        MediaError: the picture is too long a strip.
    """
    from PIL import Image

    height, width = rgb_HWC.shape[:2]
    short_side = min(size)
    check_strip(width, height, size, short_side / min(width, height))
    scaled = short_side_size(width, height, short_side)
    planes = [np.asarray(rgb_HWC[..., channel], np.float32) / 127.5 - 1 for channel in range(3)]
    if scaled != (width, height):
        # A plane at a time: Pillow resizes floating-point pictures of one channel alone.
        planes = [
            np.asarray(Image.fromarray(plane_HW).resize(scaled, Image.Resampling.BILINEAR))
            for plane_HW in planes
        ]
    fitted_HWC: Floats = np.stack(planes, axis=-1)
    return centre_crop(fitted_HWC, size, offset="half_even")

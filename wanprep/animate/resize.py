"""Pictures fitted to a number of pixels, as the Wan2.2 official preprocessing does it."""

from __future__ import annotations

import math

from wanprep.animate.compat import Compat, OfficialFailure
from wanprep.media.geometry import Size
from wanprep.media.image import RGB, letterbox, size_by_area


def model_size(width: int, height: int, area: int, multiple: int = 16, compat: Compat = "robust") -> Size:
    """Width and height, multiples of `multiple`, of about `area` pixels in the aspect of a picture of the given size.

    A strip so thin that a side comes out as nothing gets one multiple there, under "robust".

    Raises:
        OfficialFailure: such a strip, under "official".
    """
    size = size_by_area(width, height, area, multiple)
    if compat == "official" and min(_ideal(width, height, area)) < multiple:
        raise OfficialFailure(f"{width}x{height} in {area} pixels is narrower than {multiple}")
    return size


def resize_by_area(rgb_HWC: RGB, area: int, multiple: int = 16, compat: Compat = "robust") -> RGB:
    """The whole picture, uint8 [H,W,3], letterboxed to its `model_size`.

    OpenCV's area filter when that has fewer pixels than the picture, its bilinear filter otherwise.

    Raises:
        OfficialFailure: as `model_size` does.
    """
    height, width = rgb_HWC.shape[:2]
    size = model_size(width, height, area, multiple, compat)
    return letterbox(rgb_HWC, size, "area" if size[0] * size[1] < width * height else "bilinear")


def _ideal(width: int, height: int, area: int) -> tuple[float, float]:
    ideal_height = math.sqrt(area / (width / height))
    return area / ideal_height, ideal_height

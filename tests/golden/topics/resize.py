"""Sizes by area, and pictures letterboxed to a size."""

from __future__ import annotations

import numpy as np

from golden.golden_file import GoldenFile
from golden.topic import Topic


def check_size(file: GoldenFile, case: str) -> None:
    from wanprep.media.image import letterbox, size_by_area

    fields = file.case(case)
    size = size_by_area(fields["in_w"], fields["in_h"], fields["area"], fields["divisor"])
    assert size == (fields["out_w"], fields["out_h"])
    white_HWC = np.full((fields["in_h"], fields["in_w"], 3), 255, np.uint8)
    lit_HW = letterbox(white_HWC, size)[:, :, 0] == 255
    wanted_HW = np.zeros_like(lit_HW)
    wanted_HW[fields["content_y0"] : fields["content_y1"], fields["content_x0"] : fields["content_x1"]] = True
    np.testing.assert_array_equal(lit_HW, wanted_HW)


def check_letterbox(file: GoldenFile, case: str) -> None:
    from wanprep.media.image import letterbox

    fields = file.case(case)
    out_HWC = letterbox(fields["image"], (int(fields["width"]), int(fields["height"])))
    np.testing.assert_array_equal(out_HWC, fields["out"])


def check_pixels(file: GoldenFile, case: str) -> None:
    from wanprep.animate.resize import resize_by_area

    fields = file.case(case)
    out_HWC = resize_by_area(fields["image"], int(fields["area"]), compat="official")
    np.testing.assert_array_equal(out_HWC, fields["out"])


TOPICS = [
    Topic(files=("animate/resize_by_area_pixels*.npz",), check=check_pixels),
    Topic(files=("animate/resize_by_area*.json",), check=check_size),
    Topic(files=("animate/padding_resize*.npz",), check=check_letterbox),
]

"""The face pixels of each segment, as the official generator and diffusers' pipeline have them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from golden.golden_file import Array, GoldenFile
from golden.topic import Topic

_SIZE = 3  # pixels a side: every crop of the vectors has one colour


class _Colours:
    """Crops of one colour each, where a store's record would be."""

    def __init__(self, colours_TC: Array) -> None:
        self.frames, self.size = len(colours_TC), _SIZE
        self._colours_TC = colours_TC

    def crops_THWC(self, start: int, stop: int) -> Array:
        shape = (stop - start, _SIZE, _SIZE, 3)
        return np.broadcast_to(self._colours_TC[start:stop, None, None], shape)


def _check(rounding: str, tolerance: float) -> Callable[[GoldenFile, str], None]:
    def check(file: GoldenFile, case: str) -> None:
        from wanprep.animate.face_pixels import no_face_pixels, segment_face_pixels
        from wanprep.animate.segments import segments

        given = file.companion("conditioning_official.npz").case(case)
        wanted = file.case(case)
        crops = _Colours(given["face_rgb_per_frame"])
        length, carried = int(given["clip_len"]), int(given["refert_num"])
        assert len(segments(crops.frames, length, carried).windows) == wanted["n_segments"]
        for segment in range(int(wanted["n_segments"])):
            pixels_CTHW = segment_face_pixels(
                crops,
                segment,
                length=length,
                carried=carried,
                compat="official",
                rounding=rounding,
            )
            values_CT = wanted[f"s{segment}_face_per_frame"]
            assert pixels_CTHW.dtype == np.float32
            assert pixels_CTHW.shape == (3, length, _SIZE, _SIZE)
            np.testing.assert_allclose(pixels_CTHW.min((2, 3)), values_CT, rtol=0, atol=tolerance)
            np.testing.assert_allclose(pixels_CTHW.max((2, 3)), values_CT, rtol=0, atol=tolerance)
            if (without := wanted.get(f"s{segment}_uncond_face_value")) is not None:
                assert (no_face_pixels(length, _SIZE) == without).all()

    return check


TOPICS = [
    Topic(files=("animate/conditioning_official*.npz",), check=_check("bfloat16", 0)),
    Topic(files=("animate/conditioning_diffusers*.npz",), check=_check("float32", 1e-5)),
]

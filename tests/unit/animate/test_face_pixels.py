"""Face pixels of segments: the padded clip, decoded no more than once, in the values the model takes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from wanprep.animate.compat import OfficialFailure
from wanprep.animate.face_pixels import face_pixels_CTHW, no_face_pixels, segment_face_pixels

CROPS = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 3), np.uint8)


class Record:
    """Crops that remember what was asked for."""

    size = 4

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.decoded: list[int] = []

    def crops_THWC(self, start: int, stop: int) -> NDArray[np.uint8]:
        self.decoded.extend(range(start, stop))
        return CROPS[start:stop]


def test_values_are_of_bfloat16_or_of_float32() -> None:
    pixels_CTHW = face_pixels_CTHW(CROPS)
    exact = CROPS.transpose(3, 0, 1, 2).astype(np.float32) / 127.5 - 1
    np.testing.assert_array_equal(pixels_CTHW, exact.astype(ml_dtypes.bfloat16).astype(np.float32))
    np.testing.assert_array_equal(face_pixels_CTHW(CROPS, "float32"), exact)
    assert pixels_CTHW.dtype == np.float32
    assert (pixels_CTHW.min(), pixels_CTHW.max()) == (-1, 1)


@pytest.mark.parametrize(
    ("frames", "segment", "shown"),
    [
        (20, 0, list(range(13))),
        (20, 1, [*range(12, 20), 18, 17, 16, 15, 14]),  # 20 frames in 13 with 1 in common: 25
        (3, 0, [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1, 0]),
        (1, 0, [0] * 13),
        (50, 3, list(range(36, 49))),
    ],
)
def test_a_segment_shows_its_frames_there_and_back(frames: int, segment: int, shown: list[int]) -> None:
    record = Record(frames)
    pixels_CTHW = segment_face_pixels(record, segment, length=13)
    np.testing.assert_array_equal(pixels_CTHW, face_pixels_CTHW(CROPS[shown]))
    assert record.decoded == sorted(set(shown))


def test_what_is_not_there() -> None:
    with pytest.raises(IndexError, match="segment 2 of a clip that has 2"):
        segment_face_pixels(Record(20), 2, length=13)
    with pytest.raises(ValueError, match="carried"):
        segment_face_pixels(Record(20), 0, length=13, carried=13)
    with pytest.raises(OfficialFailure):
        segment_face_pixels(Record(1), 0, length=13, compat="official")


def test_no_face_is_minus_one() -> None:
    assert no_face_pixels().shape == (3, 77, 512, 512)
    assert (no_face_pixels(5, 8) == -1).all()

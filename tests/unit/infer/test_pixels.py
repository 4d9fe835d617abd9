"""From float frames to bytes."""

from __future__ import annotations

import numpy as np
import pytest

from wanprep.errors import WanprepError
from wanprep_infer.output.pixels import to_uint8_THWC

torch = pytest.importorskip("torch")


def test_truncated_is_the_official_writers_and_nearest_the_nearest_level() -> None:
    frames_CTHW = torch.linspace(-1.2, 1.2, 3 * 2 * 5 * 7).reshape(3, 2, 5, 7)
    exact_THWC = ((frames_CTHW.double().clamp(-1, 1) + 1) / 2 * 255).permute(1, 2, 3, 0).numpy()
    truncated, nearest = to_uint8_THWC(frames_CTHW, "truncate"), to_uint8_THWC(frames_CTHW, "nearest")
    assert truncated.dtype == nearest.dtype == np.uint8 and truncated.shape == (2, 5, 7, 3)
    assert (np.abs(nearest - exact_THWC) <= 0.5 + 1e-4).all()
    assert ((exact_THWC - truncated > -1e-4) & (exact_THWC - truncated < 1)).all()
    assert truncated.min() == 0 and truncated.max() == 255


def test_every_byte_comes_back_from_the_float_that_stands_for_it() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, -1)
    frames_CTHW = torch.from_numpy(levels).permute(3, 0, 1, 2).float() / 127.5 - 1
    np.testing.assert_array_equal(to_uint8_THWC(frames_CTHW, "nearest"), levels)


def test_low_precision_is_taken_and_the_frames_are_left_as_they_are() -> None:
    frames_CTHW = torch.full((3, 1, 2, 2), 0.5, dtype=torch.bfloat16)
    assert (to_uint8_THWC(frames_CTHW, "nearest") == 191).all()
    assert (frames_CTHW == 0.5).all()


def test_numbers_that_are_not_finite_are_no_picture() -> None:
    frames_CTHW = torch.zeros(3, 2, 4, 4)
    frames_CTHW[1, 1, 2, 3] = float("nan")
    with pytest.raises(
        WanprepError, match="frame 1 of those just generated holds values that are not finite"
    ):
        to_uint8_THWC(frames_CTHW, "nearest")


def test_frames_without_three_channels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"frames of shape \(4, 3, 8, 8\)"):
        to_uint8_THWC(torch.zeros(4, 3, 8, 8), "nearest")

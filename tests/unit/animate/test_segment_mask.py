"""Mask channels of a replacement's segment, from pixels."""

from __future__ import annotations

import numpy as np
import pytest

from wanprep.animate.mask_channels import mask_channels
from wanprep.animate.segment_mask import replacement_channels


def test_a_cell_is_known_where_its_first_pixel_is_kept() -> None:
    replaced_THW = np.zeros((9, 16, 24), bool)
    replaced_THW[:, :8, 8:16] = True  # cell (0, 1)
    replaced_THW[4, 9:, 17:] = True  # all of cell (1, 2) but its first row and column
    made = replacement_channels(replaced_THW)
    assert made.shape == (4, 3, 2, 3) and made.dtype == np.float32
    wanted_HW = np.array([[1, 0, 1], [1, 1, 1]], np.float32)
    assert (made == wanted_HW).all()


def test_frames_carried_over_are_known_whole() -> None:
    everywhere_THW = np.ones((9, 8, 8), bool)
    known_T = np.zeros((9, 1, 1), np.float32)
    assert not replacement_channels(everywhere_THW).any()
    for carried in (1, 5):
        known_T[:carried] = 1
        made = replacement_channels(everywhere_THW, carried)
        np.testing.assert_array_equal(made, mask_channels(known_T))


def test_wrong_lengths_and_sizes_are_told() -> None:
    with pytest.raises(ValueError, match="8 frames fold into no latent frames"):
        replacement_channels(np.zeros((8, 8, 8), bool))
    with pytest.raises(ValueError, match="a mask of 12x8 pixels has no whole cells of 8"):
        replacement_channels(np.zeros((9, 8, 12), bool))

"""The stage replace_mask: dilated, filled by a grid, at the generated size; empty frames filled or told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.mask_clips import Masks, replace_mask, replace_record

from schemas.replace_mask import FROM_NEIGHBOURS, NOBODY, OWN
from stages.replace_mask.scale import scale_mask
from wanprep.animate.compat import OfficialFailure
from wanprep.animate.mask_grid import augment_mask
from wanprep.stage import Skipped

HEIGHT, WIDTH = 64, 96


def walker(frames: int, step: int = 4) -> Masks:
    """A leaning figure that walks to the right."""
    masks_THW = np.zeros((frames, HEIGHT, WIDTH), bool)
    for index in range(frames):
        for row in range(24, 44):
            left = 10 + step * index + (row - 24) // 4
            masks_THW[index, row, left : left + 6] = True
    return masks_THW


@pytest.mark.parametrize("grid", [(1, 1), (3, 5)])
def test_each_mask_is_dilated_and_filled_by_the_official_rule(tmp_path: Path, grid: tuple[int, int]) -> None:
    masks_THW = walker(40, 1)  # more than are unpacked at a time
    made = replace_record(tmp_path, masks_THW, w_len=grid[0], h_len=grid[1], iterations=2, kernel=5)
    wanted_THW = np.stack([augment_mask(mask.view(np.uint8), 2, 5, *grid, "official") for mask in masks_THW])
    np.testing.assert_array_equal(made.masks_THW(), wanted_THW.astype(bool))
    np.testing.assert_array_equal(made.masks_THW(33, 35), wanted_THW[33:35].astype(bool))
    np.testing.assert_array_equal(made.as_stored().masks_THW(), made.masks_THW())
    assert (made.backend, made.compat, made.iterations, made.kernel) == ("drawn", "robust", 2, 5)
    assert (made.w_len, made.h_len, made.width, made.height, made.frames) == (*grid, WIDTH, HEIGHT, 40)
    assert (made.source_T == OWN).all() and not made.frames_filled and not made.frames_empty
    np.testing.assert_allclose(made.coverage_T, wanted_THW.mean(axis=(1, 2)), rtol=1e-6)
    assert made.mean_coverage == pytest.approx(wanted_THW.mean())
    official = replace_record(
        tmp_path, masks_THW, w_len=grid[0], h_len=grid[1], iterations=2, kernel=5, compat="official"
    )
    np.testing.assert_array_equal(official.masks_THW(), made.masks_THW())


def test_without_dilation_masks_stay_as_they_are(tmp_path: Path) -> None:
    made = replace_record(tmp_path, walker(3), iterations=0)
    np.testing.assert_array_equal(made.masks_THW(), walker(3))


def test_a_short_gap_takes_the_masks_around_it_and_says_so(tmp_path: Path) -> None:
    masks_THW = walker(9)
    masks_THW[[0, 3, 4, 8]] = False
    made = replace_record(tmp_path, masks_THW, iterations=0, longest_gap=2)
    assert made.source_T.tolist() == [1, 2, 2, 1, 1, 2, 2, 2, 1]
    assert (made.frames_filled, made.frames_empty) == (4, 0)
    filled_THW = made.masks_THW()
    for gap in (3, 4):
        np.testing.assert_array_equal(filled_THW[gap], masks_THW[2] | masks_THW[5])
    np.testing.assert_array_equal(filled_THW[[0, 8]], masks_THW[[1, 7]])
    assert made.coverage_T[3] == pytest.approx(filled_THW[3].mean())
    # Dilated and made a rectangle as any other mask.
    grown_THW = replace_record(tmp_path, masks_THW, longest_gap=2).masks_THW()
    around_HW = (masks_THW[2] | masks_THW[5]).view(np.uint8)
    np.testing.assert_array_equal(grown_THW[3], augment_mask(around_HW).astype(bool))


def test_in_a_long_gap_the_background_is_kept(tmp_path: Path) -> None:
    masks_THW = walker(9)
    masks_THW[[0, 3, 4, 5]] = False
    made = replace_record(tmp_path, masks_THW, longest_gap=2)
    assert made.source_T.tolist() == [1, 2, 2, 0, 0, 0, 2, 2, 2]
    assert (made.frames_filled, made.frames_empty) == (1, 3)
    assert not made.masks_THW(3, 6).any()
    assert {FROM_NEIGHBOURS, NOBODY, OWN} == set(made.source_T.tolist())


@pytest.mark.parametrize(("iterations", "compat"), [(3, "robust"), (0, "robust"), (0, "official")])
def test_a_clip_without_any_mask_is_skipped_with_a_reason(
    tmp_path: Path, iterations: int, compat: str
) -> None:
    nothing_THW = np.zeros((5, HEIGHT, WIDTH), bool)
    skipped = replace_mask(tmp_path, nothing_THW, iterations=iterations, compat=compat)
    assert skipped == Skipped("the mask is empty in every frame at the size that is generated at", 0.0)


def test_official_fails_on_an_empty_mask_as_the_official_code_does(tmp_path: Path) -> None:
    masks_THW = walker(5)
    masks_THW[2] = False
    with pytest.raises(OfficialFailure, match=r"the mask is empty: .*; take compat=robust"):
        replace_mask(tmp_path, masks_THW, compat="official")


def test_a_mask_thinner_than_the_grid_is_no_failure(tmp_path: Path) -> None:
    masks_THW = np.zeros((2, HEIGHT, WIDTH), bool)
    masks_THW[:, 30, 40] = True
    thin = {"iterations": 1, "kernel": 3, "w_len": 8, "h_len": 8}
    made = replace_record(tmp_path, masks_THW, **thin)
    assert made.masks_THW().sum(axis=(1, 2)).tolist() == [9, 9]
    with pytest.raises(OfficialFailure):
        replace_mask(tmp_path, masks_THW, **thin, compat="official")


def test_the_mask_lies_where_the_letterboxed_picture_does() -> None:
    everywhere = np.ones((90, 160), bool)
    # 160x90 in 144x80 is 142 wide and begins at column 1 (official rule).
    placed_HW = scale_mask(everywhere, (160, 90), (144, 80))
    assert placed_HW.dtype == np.uint8
    assert placed_HW[:, 1:143].all() and not placed_HW[:, [0, 143]].any()
    # Whatever the mask's own size is.
    for side in (20, 300):
        np.testing.assert_array_equal(
            scale_mask(np.ones((side, side), bool), (160, 90), (144, 80)), placed_HW
        )
    tall_HW = scale_mask(np.ones((160, 90), bool), (90, 160), (144, 80))
    assert tall_HW.any(axis=0).sum() == 45 and tall_HW.all(axis=0).sum() == 45


@pytest.mark.parametrize("factor", [0.5, 2, 3])
def test_scaling_moves_no_edge_by_more_than_half_a_pixel(factor: float) -> None:
    y_H1, x_1W = np.mgrid[0:120, 0:160]
    disc_HW = (x_1W - 79.5) ** 2 + (y_H1 - 59.5) ** 2 < 40**2
    size = (int(160 * factor), int(120 * factor))
    scaled_HW = scale_mask(disc_HW, (160, 120), size)
    radius = np.sqrt(scaled_HW.sum() / np.pi)
    assert radius == pytest.approx(40 * factor, abs=0.5)
    rows, columns = np.nonzero(scaled_HW)
    assert rows.mean() == pytest.approx(size[1] / 2 - 0.5, abs=0.1)
    assert columns.mean() == pytest.approx(size[0] / 2 - 0.5, abs=0.1)


def test_the_size_is_the_official_one_of_the_video_not_of_the_mask(tmp_path: Path) -> None:
    made = replace_record(tmp_path, walker(1), video=(1920, 1080), size={"area": 1280 * 720})
    assert (made.width, made.height) == (1280, 720)
    made = replace_record(tmp_path, walker(1), video=(854, 480), size={"area": 1280 * 720})
    assert (made.width, made.height) == (1280, 704)

"""SAM2's prompts and the replacement mask: against the rule spelled out, and where the rule fails."""

from __future__ import annotations

import numpy as np
import pytest

from wanprep.animate.compat import OfficialFailure
from wanprep.animate.mask_grid import augment_mask, background, dilate, fill_grid
from wanprep.animate.sam_prompts import PROMPT_POINTS, sam_chunks

SIZE = (640, 480)


def bodies(frames: int, confidence: float = 0.9) -> np.ndarray:
    body_TKC = np.random.default_rng(2).uniform(0.1, 0.9, (frames, 20, 3))
    body_TKC[..., 2] = confidence
    return body_TKC


@pytest.mark.parametrize("frames", [1, 2, 10, 11, 19, 20, 28, 29])
def test_chunks_carry_one_mask_on_and_cover_every_frame(frames: int) -> None:
    chunks = sam_chunks(bodies(frames), SIZE, chunk=10)
    assert [chunk.carried for chunk in chunks] == [0] + [1] * (len(chunks) - 1)
    covered = [
        frame for chunk in chunks for frame in range(chunk.start + chunk.carried, chunk.start + chunk.frames)
    ]
    assert covered == list(range(frames))
    assert all(chunk.frames <= 10 for chunk in chunks)
    assert all(0 <= prompt.frame < chunk.frames for chunk in chunks for prompt in chunk.prompts)


def test_only_sure_points_inside_the_frame_are_given() -> None:
    body_TKC = bodies(1)
    body_TKC[0, PROMPT_POINTS[0], 2] = 0.4
    body_TKC[0, PROMPT_POINTS[1], 0] = 1.2
    body_TKC[0, PROMPT_POINTS[2], 1] = -0.1
    body_TKC[0, PROMPT_POINTS[3]] = np.nan
    (chunk,) = sam_chunks(body_TKC, SIZE)
    (prompt,) = chunk.prompts
    expected_KC = (body_TKC[0, PROMPT_POINTS[4:], :2] * SIZE).astype(int)
    np.testing.assert_array_equal(prompt.points_KC, expected_KC)
    assert prompt.labels_K.tolist() == [1] * 4
    (official,) = sam_chunks(body_TKC, SIZE, compat="official")
    assert len(official.prompts[0].points_KC) == 8


def test_a_chunk_without_sure_key_frames_is_prompted_where_there_are_points() -> None:
    body_TKC = bodies(12, confidence=0.1)
    body_TKC[7, :, 2] = 0.9  # keys are 0, 3, 6, 9
    (chunk,) = sam_chunks(body_TKC, SIZE)
    assert [prompt.frame for prompt in chunk.prompts] == [7]
    body_TKC[7, :, 2] = 0.1
    (nobody,) = sam_chunks(body_TKC, SIZE)
    assert nobody.prompts == ()


@pytest.mark.parametrize(
    ("body_TKC", "chunk"), [(np.zeros((0, 20, 3)), 10), (np.zeros((3, 20, 3)), 1), (np.zeros((3, 20, 2)), 10)]
)
def test_what_cannot_be_prompted_is_refused(body_TKC: np.ndarray, chunk: int) -> None:
    with pytest.raises(ValueError, match="pass"):
        sam_chunks(body_TKC, SIZE, chunk)


def spelled_out(mask_HW: np.ndarray, columns: int, rows: int) -> np.ndarray:
    """The official rule, cell by cell."""
    ys, xs = np.nonzero(mask_HW)
    x0, x1, y0, y1 = xs.min(), xs.max(), ys.min(), ys.max()
    wide, high = int((x1 - x0) / columns), int((y1 - y0) / rows)
    out_HW = mask_HW.copy()
    for x in range(x0, x1, wide):
        for y in range(y0, y1, high):
            cell = (slice(y, min(y + high, y1)), slice(x, min(x + wide, x1)))
            if mask_HW[cell].any():
                out_HW[cell] = 1
    return out_HW


def test_the_grid_is_the_rule_spelled_out() -> None:
    rng = np.random.default_rng(11)
    for _ in range(200):
        height, width = rng.integers(12, 60, 2)
        mask_HW = (rng.random((height, width)) < rng.choice([0.01, 0.05, 0.3])).astype(np.uint8)
        mask_HW[2, 3] = mask_HW[-2, -4] = 1
        columns, rows = rng.integers(1, 6, 2)
        expected_HW = spelled_out(mask_HW, columns, rows)
        for compat in ("official", "robust"):
            np.testing.assert_array_equal(fill_grid(mask_HW, columns, rows, compat), expected_HW)


def test_more_cells_than_pixels_leave_the_mask_as_it_is() -> None:
    mask_HW = np.zeros((20, 20), np.uint8)
    mask_HW[5:8, 5:8] = np.eye(3, dtype=np.uint8)
    with pytest.raises(OfficialFailure, match="columns"):
        fill_grid(mask_HW, 9, 1, "official")
    np.testing.assert_array_equal(fill_grid(mask_HW, 9, 9), mask_HW)


def test_an_empty_mask_keeps_the_whole_frame() -> None:
    empty_HW = np.zeros((16, 24), np.uint8)
    frame_HWC = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    with pytest.raises(OfficialFailure, match="empty"):
        augment_mask(empty_HW, compat="official")
    mask_HW = augment_mask(empty_HW)
    assert not mask_HW.any()
    np.testing.assert_array_equal(background(frame_HWC, mask_HW), frame_HWC)


def test_no_iterations_leave_the_mask_and_its_copy_alone() -> None:
    mask_HW = np.zeros((16, 24), np.uint8)
    mask_HW[3:9, 4:5] = 1
    same_HW = augment_mask(mask_HW, iterations=0, compat="official")
    np.testing.assert_array_equal(same_HW, mask_HW)
    same_HW[:] = 0
    assert mask_HW.sum() == 6
    assert dilate(mask_HW, 1, 3).sum() == 8 * 3

"""Prompts for SAM2, and the masks that replacement makes of its answer."""

from __future__ import annotations

import numpy as np
import pytest

from golden.golden_file import GoldenFile
from golden.topic import Topic


def check_prompts(file: GoldenFile, case: str) -> None:
    from wanprep.animate.sam_prompts import sam_chunks

    fields = file.case(case)
    base_KC = np.array(fields["base_xy"])
    sway_TC = 0.05 * np.sin(0.03 * np.arange(fields["n"])[:, None] + np.arange(2))  # the vectors' own motion
    size = (fields["width"], fields["height"])
    chunks = sam_chunks(base_KC + sway_TC[:, None], size, compat="official")
    assert [chunk.frames for chunk in chunks] == [chunk["n_frames"] for chunk in fields["chunks"]]
    assert sum(chunk.frames for chunk in chunks) == fields["n_masks"]
    assert not any(chunk.carried for chunk in chunks)
    for chunk, wanted in zip(chunks, fields["chunks"], strict=True):
        made = [
            (prompt.frame, prompt.points_KC.tolist(), prompt.labels_K.tolist()) for prompt in chunk.prompts
        ]
        assert made == [(each["frame"], each["points"], each["labels"]) for each in wanted["prompts"]]


def check_augmented(file: GoldenFile, case: str) -> None:
    from wanprep.animate.mask_grid import augment_mask, background, dilate

    fields = file.case(case)
    dilating = (int(fields["iterations"]), int(fields["k"]))
    np.testing.assert_array_equal(dilate(fields["mask"], *dilating), fields["dilated"])
    mask_HW = augment_mask(
        fields["mask"], *dilating, int(fields["w_len"]), int(fields["h_len"]), compat="official"
    )
    np.testing.assert_array_equal(mask_HW, fields["aug"])
    np.testing.assert_array_equal(background(fields["frame"], mask_HW), fields["bg"])


def check_edge(file: GoldenFile, case: str) -> None:
    from wanprep.animate.compat import OfficialFailure
    from wanprep.animate.mask_grid import fill_grid

    fields = file.case(case)
    mask_HW = _centred(fields["shape"], fields["mask_sum"])
    grid = (fields["w_len"], fields["h_len"])
    if "error" in fields:
        with pytest.raises(OfficialFailure):
            fill_grid(mask_HW, *grid, compat="official")
        np.testing.assert_array_equal(fill_grid(mask_HW, *grid), mask_HW)
    else:
        assert fill_grid(mask_HW, *grid, compat="official").sum() == fields["out_sum"]


def _centred(shape: list[int], ones: int) -> np.ndarray:
    """A block of ones in the middle: a square where there can be one, otherwise a row."""
    mask_HW = np.zeros(shape, np.uint8)
    side = round(ones**0.5)
    high, wide = (side, side) if side * side == ones else (1, ones)
    top, left = (shape[0] - high) // 2, (shape[1] - wide) // 2
    mask_HW[top : top + high, left : left + wide] = 1
    return mask_HW


TOPICS = [
    Topic(files=("animate/sam_prompts*.json",), check=check_prompts),
    Topic(files=("animate/mask_aug_edge*.json",), check=check_edge),
    Topic(files=("animate/mask_aug*.npz",), check=check_augmented),
]

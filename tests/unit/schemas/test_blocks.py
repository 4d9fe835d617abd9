"""Blocks are exact and may be read from any frame on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import FlowRecord, MaskRecord
from schemas.blocks import compress, decompress, pack_bits, unpack_bits

SIDES = st.integers(1, 70)


def blocks_of(frames: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    packed = [compress(frame) for frame in frames]
    offsets = np.cumsum([0, *map(len, packed)], dtype=np.int64)
    return np.frombuffer(b"".join(packed), np.uint8), offsets


@given(SIDES, SIDES, st.integers(0, 5), st.randoms(use_true_random=False))
def test_masks_of_any_size_come_back(height: int, width: int, frames: int, random: object) -> None:
    masks_THW = np.random.default_rng(height * 71 + width).random((frames, height, width)) < 0.4
    data, offsets = blocks_of([pack_bits(mask_HW) for mask_HW in masks_THW])
    record = MaskRecord(
        backend="test",
        frames=frames,
        width=width,
        height=height,
        blocks=data,
        offsets_T=offsets,
        quality_T=np.zeros(frames, np.uint8),
        coverage_T=np.zeros(frames, np.float32),
        mean_coverage=0.0,
    )
    np.testing.assert_array_equal(record.masks_THW(), masks_THW)
    for start in range(frames):
        np.testing.assert_array_equal(record.masks_THW(start, start + 1), masks_THW[start : start + 1])


@given(SIDES, SIDES, st.integers(1, 4), st.floats(1 / 8, 3))
def test_flow_is_within_half_a_step(height: int, width: int, pairs: int, scale: float) -> None:
    rng = np.random.default_rng(height * 71 + width)
    flow_THWC = rng.uniform(-127 * scale, 127 * scale, (pairs, height, width, 2)).astype(np.float32)
    data, offsets = blocks_of([np.rint(pair / scale).astype(np.int8) for pair in flow_THWC])
    agree_THW = rng.random((pairs, height, width)) < 0.5
    agree, agree_offsets = blocks_of([pack_bits(pair) for pair in agree_THW])
    curve_T = np.zeros(pairs, np.float32)
    record = FlowRecord(
        backend="test",
        pairs=pairs,
        width=width,
        height=height,
        blocks=data,
        offsets_T=offsets,
        scale_T=np.full(pairs, scale, np.float32),
        consistent_blocks=agree,
        consistent_offsets_T=agree_offsets,
        consistent_T=curve_T,
        motion_T=curve_T,
        camera_TC=np.zeros((pairs, 3), np.float32),
        cut_T=np.zeros(pairs, bool),
        mean_motion=0.0,
        mean_camera=0.0,
        cuts=0,
    )
    assert np.abs(record.flow_THWC() - flow_THWC).max() <= scale / 2 * 1.001
    np.testing.assert_array_equal(record.flow_THWC(pairs - 1), record.flow_THWC()[pairs - 1 :])
    np.testing.assert_array_equal(record.consistent_THW(0, 1), agree_THW[:1])


@given(st.lists(SIDES, min_size=0, max_size=3), SIDES)
def test_bits_come_back_on_any_axes(leading: list[int], width: int) -> None:
    bits = np.random.default_rng(width).random((*(side % 5 + 1 for side in leading), width)) < 0.5
    np.testing.assert_array_equal(unpack_bits(pack_bits(bits), width), bits)


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (0, 4), (3, 2), (4, 4)])
def test_frames_that_are_not_there_are_refused(start: int, stop: int) -> None:
    data, offsets = blocks_of([np.zeros((2, 2), np.uint8)] * 3)
    with pytest.raises(IndexError, match="of a record that has 3"):
        decompress(data, offsets, start, stop, (2, 2), np.uint8)


def test_what_was_not_kept_is_named_with_the_setting_that_keeps_it() -> None:
    empty = np.zeros(0, np.float32)
    record = FlowRecord(
        backend="test",
        pairs=0,
        width=8,
        height=8,
        blocks=np.zeros(0, np.uint8),
        offsets_T=np.zeros(1, np.int64),
        scale_T=empty,
        consistent_blocks=None,
        consistent_offsets_T=None,
        consistent_T=None,
        motion_T=empty,
        camera_TC=np.zeros((0, 3), np.float32),
        cut_T=np.zeros(0, bool),
        mean_motion=0.0,
        mean_camera=0.0,
        cuts=0,
    )
    assert record.flow_THWC().shape == (0, 8, 8, 2)
    with pytest.raises(ValueError, match=r"flow\.consistency=true"):
        record.consistent_THW()

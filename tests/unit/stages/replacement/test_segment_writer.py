"""Segments as the official generator cuts them: overlapping, coded each on its own, filled up backwards."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers.latent_clips import Frames, moving_THWC
from helpers.mask_clips import clip_of
from pydantic import ValidationError

from schemas import LatentsRecord
from stages.latents.animate import SegmentsConfig, SegmentWriter
from stages.latents.coder import load_coder
from wanprep.animate.segments import segments
from wanprep.models.dct_codec import dct_codec
from wanprep.stage import ClipContext


def coded(
    folder: Path,
    frames_THWC: Frames,
    cuts: tuple[int, ...] = (),
    carried_THWC: Frames | None = None,
    **more: int,
) -> LatentsRecord:
    config = SegmentsConfig.model_validate({"storage": "float32", "segment_frames": 9, **more})
    frames, height, width = frames_THWC.shape[:3]
    context = ClipContext(clip_of(frames, width, height), {}, folder)
    writer = SegmentWriter(load_coder(config), config, frames, (width, height), context)
    for start, stop in pairwise(sorted({0, frames, *cuts})):
        writer.add(frames_THWC[start:stop], None if carried_THWC is None else carried_THWC[start:stop])
    return writer.finish(view="background", fit="letterbox")


@pytest.mark.parametrize("overlap", [1, 5])
@pytest.mark.parametrize("frames", [1, 2, 5, 6, 9, 10, 13, 17, 23, 40])
def test_segments_hold_the_frames_of_the_official_rule(tmp_path: Path, frames: int, overlap: int) -> None:
    frames_THWC = moving_THWC(frames, 32, 32)
    record = coded(tmp_path, frames_THWC, (1, 2, 7, 11, 12), segment_overlap=overlap)
    found = segments(frames, 9, overlap)
    assert record.segment_starts == [start for start, _ in found.windows]
    assert (record.frames, record.frames_repeated) == (frames, len(found.indices_T) - frames)
    assert (record.frames_left_out, record.segment_frames, record.latent_frames) == (0, 9, 3)
    codec = dct_codec("dct-z16-v1")
    for index, (start, stop) in enumerate(found.windows):
        wanted_TCHW = codec.encode(frames_THWC[found.indices_T[start:stop]])
        np.testing.assert_array_equal(record.segment_CTHW(index), np.moveaxis(wanted_TCHW, 0, 1))


@pytest.mark.parametrize("overlap", [1, 5])
def test_frames_carried_over_may_show_something_else(tmp_path: Path, overlap: int) -> None:
    frames_THWC, carried_THWC = moving_THWC(20, 32, 32), 255 - moving_THWC(20, 32, 32)
    codec, found = dct_codec("dct-z16-v1"), segments(20, 9, overlap)
    for cuts in ((), tuple(range(20))):
        record = coded(tmp_path, frames_THWC, cuts, carried_THWC, segment_overlap=overlap)
        for index, (start, stop) in enumerate(found.windows):
            shown_THWC = frames_THWC[found.indices_T[start:stop]]
            if index:
                shown_THWC[:overlap] = carried_THWC[start : start + overlap]
            wanted_TCHW = codec.encode(shown_THWC)
            np.testing.assert_array_equal(record.segment_CTHW(index), np.moveaxis(wanted_TCHW, 0, 1))


def test_too_few_and_too_many_pictures_are_an_error(tmp_path: Path) -> None:
    config = SegmentsConfig(segment_frames=9)
    writer = SegmentWriter(
        load_coder(config), config, 4, (32, 32), ClipContext(clip_of(4, 32, 32), {}, tmp_path)
    )
    writer.add(moving_THWC(3, 32, 32))
    with pytest.raises(ValueError, match="3 of 4 pictures came"):
        writer.finish(view="background", fit="letterbox")
    with pytest.raises(ValueError, match="more than 4 pictures came"):
        writer.add(moving_THWC(2, 32, 32))


def test_a_segment_is_whole_latent_frames() -> None:
    with pytest.raises(ValidationError, match="segment_frames 78 is not 4n"):
        SegmentsConfig(segment_frames=78)
    with pytest.raises(ValidationError):
        SegmentsConfig.model_validate({"segment_overlap": 2})


def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    config = SegmentsConfig(segment_frames=9)
    frames_THWC = moving_THWC(8, 128, 96)

    def peak(windows: int) -> int:
        context = ClipContext(clip_of(8 * windows, 128, 96), {}, tmp_path)
        writer = SegmentWriter(load_coder(config), config, 8 * windows, (128, 96), context)
        tracemalloc.start()
        for _ in range(windows):
            writer.add(frames_THWC)
        writer.finish(view="background", fit="letterbox")
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        context.close()
        return used

    peak(3)  # what is made once
    assert peak(60) < 1.2 * peak(6) + (1 << 20)  # a spool's own memory

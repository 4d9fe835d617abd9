"""Sizes, frame numbers, segments and mask channels: where the official rules fail, and what holds for all inputs."""

from __future__ import annotations

import numpy as np
import pytest

from wanprep.animate.compat import OfficialFailure
from wanprep.animate.frames import frame_indices
from wanprep.animate.mask_channels import known_frames, mask_channels
from wanprep.animate.resize import model_size, resize_by_area
from wanprep.animate.segments import padded_length, ping_pong, segments
from wanprep.media.image import letterbox, letterbox_box


def test_a_thin_strip_keeps_a_multiple_where_the_official_rule_has_nothing() -> None:
    with pytest.raises(OfficialFailure, match="compat=robust"):
        model_size(4000, 10, 64 * 64, compat="official")
    width, height = model_size(4000, 10, 64 * 64)
    assert (height, width % 16) == (16, 0)
    strip_HWC = np.full((10, 4000, 3), 200, np.uint8)
    assert resize_by_area(strip_HWC, 64 * 64).shape == (height, width, 3)


def test_smaller_pictures_are_averaged_and_larger_ones_interpolated() -> None:
    fine_HWC = np.zeros((64, 64, 3), np.uint8)
    fine_HWC[:, ::2] = 200  # stripes of one pixel
    assert np.unique(resize_by_area(fine_HWC, 32 * 32)).tolist() == [100]
    coarse_HWC = np.zeros((16, 16, 3), np.uint8)
    coarse_HWC[:, 8:] = 200
    assert len(np.unique(resize_by_area(coarse_HWC, 64 * 64))) > 2


@pytest.mark.parametrize("source", [(97, 61), (61, 97), (64, 64), (3, 400)])
def test_the_letterbox_lies_where_it_says(source: tuple[int, int]) -> None:
    white_HWC = np.full((source[1], source[0], 3), 255, np.uint8)
    x0, y0, x1, y1 = letterbox_box(source, (80, 48))
    lit_HW = letterbox(white_HWC, (80, 48))[..., 0] > 0
    assert lit_HW[y0:y1, x0:x1].all()
    assert lit_HW.sum() == (y1 - y0) * (x1 - x0)


def test_doubling_a_rate_repeats_every_frame_alike() -> None:
    official_T, _ = frame_indices(10, 15, 10 / 15, 30, "official")
    robust_T, fps = frame_indices(10, 15, 10 / 15, 30)
    assert official_T[:8].tolist() == [0, 0, 1, 2, 2, 2, 3, 4]
    assert robust_T.tolist() == [number // 2 for number in range(20)]
    assert fps == 30


def test_a_short_clip_gives_a_frame_and_no_number_is_beyond_the_count() -> None:
    with pytest.raises(OfficialFailure):
        frame_indices(1, 30, 1 / 30, 16, "official")
    assert frame_indices(1, 30, 1 / 30, 16)[0].tolist() == [0]
    # A duration of more frames than there are: the official rule asks for frames that are not there.
    assert frame_indices(10, 30, 1.0, 30, "official")[0].max() == 29
    assert frame_indices(10, 30, 1.0, 30)[0].tolist() == list(range(10))


@pytest.mark.parametrize("fps", [None, -1])
def test_without_a_rate_the_containers_is_kept(fps: float | None) -> None:
    numbers_T, rate = frame_indices(7, 12.5, 7 / 12.5, fps)
    assert numbers_T.tolist() == list(range(7))
    assert rate == 12.5


@pytest.mark.parametrize(
    ("frames", "average", "fps"), [(0, 30, 30), (5, 0, 30), (5, 30, 0), (5, float("nan"), 30)]
)
def test_impossible_counts_and_rates_are_refused(frames: int, average: float, fps: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        frame_indices(frames, average, 1.0, fps)


@pytest.mark.parametrize("carried", [1, 5])
def test_segments_cover_every_clip_and_have_the_carried_frames_in_common(carried: int) -> None:
    for frames in range(1, 240):
        whole = segments(frames, 77, carried)
        assert all(end - start == 77 for start, end in whole.windows)
        ends = [end for _, end in whole.windows]
        starts = [start for start, _ in whole.windows]
        assert starts[0] == 0
        assert [end - carried for end in ends[:-1]] == starts[1:]
        assert ends[-1] == len(whole.indices_T) >= frames
        assert whole.indices_T[:frames].tolist() == list(range(frames))
        assert set(whole.indices_T.tolist()) == set(range(frames))
        steps_T = np.abs(np.diff(whole.indices_T))
        assert (steps_T == (1 if frames > 1 else 0)).all()


def test_a_clip_of_carried_frames_only_is_one_segment_and_officially_none() -> None:
    with pytest.raises(OfficialFailure):
        segments(5, 77, 5, "official")
    assert segments(5, 77, 5).windows == ((0, 77),)
    assert padded_length(5, 77, 5) == 5
    assert ping_pong(3, 8).tolist() == [0, 1, 2, 1, 0, 1, 2, 1]


@pytest.mark.parametrize(("frames", "length", "carried"), [(0, 77, 1), (9, 77, 0), (9, 5, 5)])
def test_impossible_segments_are_refused(frames: int, length: int, carried: int) -> None:
    with pytest.raises(ValueError, match="no such segments"):
        segments(frames, length, carried)


def test_each_mask_channel_holds_the_frame_that_the_layout_says() -> None:
    known_THW = np.random.default_rng(3).random((21, 3, 5)).astype(np.float32)
    channels = mask_channels(known_THW)
    assert channels.shape == (4, 6, 3, 5)
    for channel in range(4):
        np.testing.assert_array_equal(channels[channel, 0], known_THW[0])
        for latent in range(1, 6):
            np.testing.assert_array_equal(
                channels[channel, latent], known_THW[4 * (latent - 1) + 1 + channel]
            )


def test_carried_frames_are_known_whatever_the_mask_keeps() -> None:
    keep_THW = np.full((9, 2, 2), 0.25, np.float32)
    known_THW = known_frames(9, 2, 2, 5, keep_THW)
    assert (known_THW[:5] == 1).all()
    assert (known_THW[5:] == 0.25).all()
    assert (keep_THW == 0.25).all()


def test_masks_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="keep_THW"):
        known_frames(9, 2, 2, 0, np.ones((9, 2, 3), np.float32))
    with pytest.raises(ValueError, match="4n"):
        mask_channels(np.ones((8, 2, 2), np.float32))

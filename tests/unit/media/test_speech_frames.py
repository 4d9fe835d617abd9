"""Steps, frames, buckets and clips are counted as Wan2.2-S2V counts them, piece by piece as in one go."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wanprep.media.speech_frames import (
    Interpolation,
    bucket,
    bucket_TLC,
    clip_plan,
    encoder_steps,
    interpolate_blocks,
    interpolate_TLC,
    interpolated_length,
    least_samples,
    sample_indices,
    video_frame_indices,
)


def states(frames: int, layers: int = 2, channels: int = 3, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((frames, layers, channels)).astype(np.float32)


def test_steps_lose_one_at_the_end_of_a_second() -> None:
    assert [encoder_steps(samples) for samples in (0, 1, 399, 400, 719, 720, 16_000)] == [
        0,
        0,
        0,
        1,
        1,
        2,
        49,
    ]


@given(st.integers(1, 5_000))
def test_least_samples_are_the_fewest_for_their_steps(steps: int) -> None:
    assert encoder_steps(least_samples(steps)) == steps
    assert encoder_steps(least_samples(steps) - 1) == steps - 1


def test_interpolation_holds_both_ends_and_is_linear_between() -> None:
    ramp_TLC = np.arange(50, dtype=np.float32).reshape(50, 1, 1)
    found = interpolate_TLC(ramp_TLC)[:, 0, 0]
    assert len(found) == 30 == interpolated_length(50)
    np.testing.assert_allclose(found, np.linspace(0, 49, 30), atol=1e-5)
    assert interpolate_TLC(ramp_TLC, length=1)[:, 0, 0] == [0]
    assert interpolate_TLC(ramp_TLC[:1], length=4)[:, 0, 0].tolist() == [0] * 4
    assert interpolate_TLC(ramp_TLC[:0]).shape == (0, 1, 1)


@given(steps=st.integers(1, 200), cuts=st.lists(st.integers(0, 200), max_size=5), length=st.integers(0, 250))
def test_interpolation_in_blocks_equals_one_go(steps: int, cuts: list[int], length: int) -> None:
    whole = states(steps)
    blocks = np.split(whole, sorted(min(cut, steps) for cut in cuts))
    found = list(interpolate_blocks(blocks, steps, length))
    joined = np.concatenate(found) if found else np.zeros((0, 2, 3), np.float32)
    np.testing.assert_array_equal(joined, interpolate_TLC(whole, length=length))


def test_interpolation_never_reaches_beyond_the_last_step_however_long() -> None:
    for steps in (100_003, 179_999, 720_001):
        interpolation = Interpolation.between(steps, interpolated_length(steps))
        assert interpolation.upper_T[-1] == interpolation.upper_T.max() == steps - 1
        assert 0 <= interpolation.weight_T.min() <= interpolation.weight_T.max() <= 1
        assert (np.diff(interpolation.lower_T) >= 0).all()


def test_ties_go_to_the_even_frame() -> None:
    assert sample_indices(9, 30, 16, 1_000).tolist() == [0, 2, 4, 6, 8, 9, 11, 13, 15]
    assert sample_indices(13, 30, 16, 1_000)[[4, 12]].tolist() == [8, 22]  # of 7.5 and 22.5
    assert sample_indices(5, 30, 16, 6).tolist() == [0, 2, 4, 5, 5]


@given(
    length=st.integers(0, 400),
    neighbours=st.integers(0, 2),
    clip=st.integers(0, 3),
    fps=st.sampled_from([16, 24, 25, 30]),
)
def test_one_clip_of_a_bucket_equals_its_part_of_the_whole(
    length: int, neighbours: int, clip: int, fps: int
) -> None:
    whole = states(length)
    chosen = bucket(length, fps, 40, neighbours)
    every = bucket_TLC(whole, fps, 40, neighbours)
    assert len(every) == chosen.clips * 40
    part = slice(clip * 40, (clip + 1) * 40)
    np.testing.assert_array_equal(chosen.of(whole, part), every[part])
    assert not every[~chosen.sounding_T].any()


def test_neighbours_are_held_at_the_ends() -> None:
    ramp_TLC = np.arange(1, 11, dtype=np.float32).reshape(10, 1, 1)
    found = bucket_TLC(ramp_TLC, 30, 16, 1)[:, 0]
    assert found[0].tolist() == [1, 1, 2]
    assert found[9].tolist() == [9, 10, 10]
    assert not found[10:].any()


def test_sound_that_ends_with_a_clip_begins_one_more() -> None:
    assert [bucket(length).clips for length in (149, 150, 299, 300)] == [1, 2, 2, 3]
    silent = bucket_TLC(states(150) + 10)[80:]
    assert silent.shape == (80, 2, 3)
    assert not silent.any()


def test_a_plan_counts_clips_and_frames() -> None:
    plan = clip_plan(60 * 16_000)
    assert (plan.features, plan.clips, plan.video_frames, plan.latent_frames_per_clip) == (1_799, 12, 957, 20)
    assert plan.video_seconds == 957 / 16
    limited = clip_plan(60 * 16_000, most_clips=2, start_from_reference=True)
    assert (limited.available_clips, limited.clips, limited.video_frames) == (12, 2, 160)
    assert clip_plan(1).clips == 1


@pytest.mark.parametrize(
    ("fps", "step"), [(12.0, 1), (23.976, 1), (24.0, 2), (25.0, 2), (40.0, 2), (60.0, 4)]
)
def test_pose_frames_are_read_at_a_whole_step(fps: float, step: int) -> None:
    found = video_frame_indices(300, fps, 20)
    assert found.tolist() == [step * index for index in range(20)]
    newest = video_frame_indices(300, fps, 20, last=True)
    assert newest[-1] == 299
    assert len(newest) == 20
    assert set(np.diff(newest)) == {step}


def test_a_short_video_gives_what_it_has() -> None:
    assert video_frame_indices(5, 16.0, 80).tolist() == [0, 1, 2, 3, 4]
    assert video_frame_indices(5, 32.0, 73, last=True).tolist() == [0, 2, 4]
    assert video_frame_indices(0, 16.0, 80).tolist() == []
    assert math.isclose(clip_plan(80_000).video_seconds, 4.8125)

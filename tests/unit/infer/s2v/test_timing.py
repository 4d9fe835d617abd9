"""Clips, frames and sound of a generation."""

from __future__ import annotations

import math

import pytest
from helpers.s2v_conditioning import conditioning
from hypothesis import given
from hypothesis import strategies as st

from wanprep.media.speech_frames import SAMPLE_RATE, clip_plan, encoder_steps, interpolated_length
from wanprep_infer.s2v.settings import S2VSettings
from wanprep_infer.s2v.timing import S2VPlan, plan, plan_of, sound_of


def planned(seconds: float, **settings: object) -> S2VPlan:
    features = interpolated_length(encoder_steps(round(seconds * SAMPLE_RATE)))
    return plan(features, seconds, S2VSettings.model_validate(settings))


@pytest.mark.parametrize(
    ("seconds", "official_clips", "official", "clips", "frames"),
    [
        (5.0, 1, 77, 1, 80),
        (5.01, 2, 157, 1, 80),
        (5.05, 2, 157, 2, 81),
        (10.0, 2, 157, 2, 160),
        (10.02, 3, 237, 2, 160),
        (60.0, 12, 957, 12, 960),
    ],
)
def test_no_clip_of_silence_and_frames_up_to_the_sounds_end(
    seconds: float, official_clips: int, official: int, clips: int, frames: int
) -> None:
    theirs, ours = planned(seconds, compat="official"), planned(seconds)
    assert (theirs.clips, theirs.frames) == (official_clips, official)
    assert (ours.clips, ours.frames) == (clips, frames)


def test_silence_that_fills_sound_up_to_a_longer_video_makes_no_clip() -> None:
    """States of seven seconds, 5.0155 of them sound: one clip, as for a file that ends there."""
    found = plan(209, 5.0155, S2VSettings())
    assert (found.clips, found.frames) == (1, 80)


@given(
    st.integers(721, 20 * SAMPLE_RATE),
    st.sampled_from([8, 12, 48, 80, 120]),
    st.none() | st.integers(1, 4),
    st.booleans(),
)
def test_official_counts_are_those_of_the_clip_plan(
    samples: int, size: int, most: int | None, start: bool
) -> None:
    theirs = clip_plan(samples, frames_per_clip=size, most_clips=most, start_from_reference=start)
    ours = planned(
        samples / SAMPLE_RATE, compat="official", frames_per_clip=size, clips=most, start_from_reference=start
    )
    assert (ours.clips, ours.frames) == (theirs.clips, theirs.video_frames)


@given(
    st.integers(721, 20 * SAMPLE_RATE),
    st.sampled_from([8, 12, 48, 80]),
    st.none() | st.integers(1, 3),
    st.sampled_from(["hold", "keep", "cut"]),
    st.booleans(),
)
def test_clips_make_up_the_video_and_each_has_sound(
    samples: int, size: int, most: int | None, opening: str, start: bool
) -> None:
    seconds = samples / SAMPLE_RATE
    found = planned(seconds, frames_per_clip=size, clips=most, opening=opening, start_from_reference=start)
    parts = [found.frames_of(clip) for clip in range(found.clips)]
    assert sum(parts) == found.frames and all(part <= size for part in parts)
    if most is None:
        # The picture ends with the sound's last frame; at a clip's end less than a frame of sound may be left.
        assert found.frames == 0 or -1 < found.frames + found.ahead - seconds * 16 < 1
        assert found.frames > 0 or seconds * 16 < found.ahead + 1
        assert (found.clips - 1) * size < seconds * 16
    for frame in range(found.frames):
        assert found.step_of(frame) == (max(frame, found.held) + found.ahead)
    with pytest.raises(IndexError):
        found.step_of(found.frames)


@pytest.mark.parametrize(
    ("settings", "first", "tenth"),
    [
        ({}, 3, 10),
        ({"opening": "keep"}, 0, 10),
        ({"opening": "cut"}, 3, 13),
        ({"compat": "official"}, 3, 13),
        ({"start_from_reference": True}, 0, 10),
        ({"drop_first_motion": False}, 0, 10),
    ],
)
def test_which_step_of_the_sound_a_frame_shows(settings: dict[str, object], first: int, tenth: int) -> None:
    found = planned(5.0, **settings)
    assert (found.step_of(0), found.step_of(10)) == (first, tenth)


@pytest.mark.parametrize(
    ("settings", "start", "seconds"),
    [
        ({}, 1.5, 10.0),
        ({"opening": "cut"}, 1.5 + 3 / 16, 10.0 - 3 / 16),
        ({"compat": "official"}, 1.5, 157 / 16),
        ({"clips": 1}, 1.5, 5.0),
    ],
)
def test_sound_is_cut_where_the_picture_is(settings: dict[str, object], start: float, seconds: float) -> None:
    clip = conditioning(10.0, sound_uri="talk.wav", sound_start=1.5)
    chosen = S2VSettings.model_validate(settings)
    sound = sound_of(clip, chosen)
    assert sound is not None and sound.delay == 0
    assert (sound.uri, sound.start) == ("talk.wav", start)
    assert math.isclose(sound.seconds or 0, seconds)
    assert (sound.seconds or 0) <= plan_of(clip, chosen).seconds + 1e-9


def test_conditioning_without_a_file_has_no_sound() -> None:
    assert sound_of(conditioning(5.0), S2VSettings()) is None

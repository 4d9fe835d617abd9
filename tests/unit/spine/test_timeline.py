"""Which source frame stands for each frame of a clip."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wanprep.timeline import Timeline, TimelineConfig, frame_count, longest_4n1, split

RATES = st.sampled_from(
    [1.0, 8.0, 12.5, 15.0, 16.0, 24000 / 1001, 24.0, 25.0, 30000 / 1001, 30.0, 50.0, 60.0, 120.0]
)
COUNTS = st.integers(1, 400)


def constant(frames: int, fps: float, digits: int | None = None) -> list[tuple[float, int]]:
    times = [index / fps for index in range(frames)]
    return [(round(time, digits) if digits is not None else time, index) for index, time in enumerate(times)]


def reference(timeline: Timeline, timed: list[tuple[float, int]]) -> list[int]:
    """The definition, one instant at a time, without an end."""
    shown = []
    for j in range(timeline.frames):
        instant = timeline.start + (j + 0.25) / timeline.fps
        before = [frame for time, frame in timed if time <= instant]
        shown.append(before[-1] if before else timed[0][1])
    return shown


@given(COUNTS, RATES, st.sampled_from([None, 3, 4]))
def test_own_rate_is_the_identity_also_with_rounded_timestamps(
    frames: int, fps: float, digits: int | None
) -> None:
    assert list(Timeline(fps, frames).select(constant(frames, fps, digits))) == list(range(frames))


@given(COUNTS, st.sampled_from([8.0, 12.0, 25.0, 30.0, 60.0]))
def test_half_the_rate_takes_every_other_frame(frames: int, fps: float) -> None:
    count = frame_count(frames / fps, fps / 2)
    assert (
        list(Timeline(fps / 2, count).select(constant(frames, fps, 3))) == list(range(0, frames, 2))[:count]
    )


@given(COUNTS, st.sampled_from([8.0, 12.0, 25.0, 30.0, 60.0]))
def test_twice_the_rate_shows_each_frame_twice(frames: int, fps: float) -> None:
    doubled = list(Timeline(fps * 2, frames * 2).select(constant(frames, fps, 3)))
    assert doubled == [index for index in range(frames) for _ in range(2)]


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=60),
    st.floats(1, 120),
    st.floats(0, 2),
)
def test_variable_rate_shows_what_a_player_would(steps: list[int], fps: float, start: float) -> None:
    """Against the definition; steps are whole milliseconds."""
    times = [0, *steps]
    timed = [(sum(times[: index + 1]) / 1000, index) for index in range(len(times))]
    seconds = timed[-1][0] + steps[-1] / 1000
    if start >= seconds:
        return
    timeline = Timeline(fps, frame_count(seconds - start, fps), start)
    assert list(timeline.select(timed)) == reference(timeline, timed)


@given(COUNTS, RATES, st.floats(0, 3))
def test_start_skips_what_lies_before(frames: int, fps: float, start: float) -> None:
    """A seek gives frames from the keyframe before on: what comes out is the same."""
    timed = constant(frames, fps)
    if start >= frames / fps:
        return
    timeline = Timeline(fps, frame_count(frames / fps - start, fps), start)
    whole = list(timeline.select(timed))
    assert whole == reference(timeline, timed)
    first_needed = whole[0]
    assert list(timeline.select(timed[first_needed:])) == whole


@given(COUNTS, RATES, RATES)
def test_count_is_exact_at_any_rate(frames: int, source_fps: float, fps: float) -> None:
    seconds = frames / source_fps
    count = frame_count(seconds, fps)
    assert count == 1 or abs(count - seconds * fps) <= 0.5 + 1e-9
    assert len(list(Timeline(fps, count).select(constant(frames, source_fps), hold=1 / source_fps))) == count


@given(st.integers(1, 100), st.integers(3, 40))
def test_early_end_gives_fewer_frames(left: int, missing: int) -> None:
    """What is lost must not be papered over by the last frame; the caller counts."""
    timeline = Timeline(25.0, left + missing)
    assert len(list(timeline.select(constant(left, 25.0), hold=2 / 25))) < left + missing


def test_single_frame_is_held_for_its_time() -> None:
    """One frame at 1 fps makes 30 frames at 30: it was reported as truncated after the first."""
    assert list(Timeline(30.0, 30).select([(0.0, "only")], hold=1.0)) == ["only"] * 30


def test_short_last_step_does_not_lose_the_last_instants() -> None:
    """A video whose last two frames lie 1 ms apart was reported as truncated."""
    times = [0, 0.04, 0.08, 0.12, 0.16, 0.161]
    seconds = 0.161 + 0.04
    count = frame_count(seconds, 120)
    timed = [(time, index) for index, time in enumerate(times)]
    assert len(list(Timeline(120, count).select(timed))) < count
    assert len(list(Timeline(120, count).select(timed, hold=2 * seconds / len(times)))) == count


@given(st.integers(0, 10_000))
def test_longest_4n1(frames: int) -> None:
    longest = longest_4n1(frames)
    if frames == 0:
        assert longest == 0
    else:
        assert longest % 4 == 1
        assert longest <= frames < longest + 4


@given(COUNTS, RATES, st.one_of(st.none(), st.floats(0.01, 20)))
def test_pieces_hold_every_frame_once(frames: int, fps: float, length: float | None) -> None:
    """Pieces of 0.35 s at 30 fps begin on half frames: frames between them were lost or shown twice."""
    seconds = frames / fps
    pieces = split(seconds, length, fps)
    timed = constant(frames, fps)
    together = [
        frame
        for piece in pieces
        for frame in Timeline(fps, piece.frames, piece.start).select(timed, hold=1 / fps)
    ]
    assert together == list(range(frames))
    assert pieces[0].start == 0 and pieces[-1].end == seconds
    assert all(before.end == after.start for before, after in itertools.pairwise(pieces))
    assert len({piece.frames for piece in pieces[:-1]}) <= 1
    assert pieces[-1].frames <= pieces[0].frames
    if len(pieces) > 1 and length is not None:
        assert pieces[0].frames == 1 or abs(pieces[0].frames - length * fps) <= 0.5 + 1e-9


@given(st.floats(0.05, 30), RATES, st.floats(0.01, 20))
def test_pieces_add_up_to_the_whole(seconds: float, fps: float, length: float) -> None:
    assert sum(piece.frames for piece in split(seconds, length, fps)) == frame_count(seconds, fps)


@pytest.mark.parametrize(
    "fields", [{"fps": 0}, {"fps": 241}, {"split_seconds": 0}, {"min_frames": 0}, {"rate": 3}]
)
def test_senseless_timelines_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        TimelineConfig(**fields)

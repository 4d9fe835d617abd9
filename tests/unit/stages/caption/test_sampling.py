"""Which pictures of a clip are looked at: by time, few, small, and in bounded memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.media import cut_file, level_index, turn, write_picture, write_video
from hypothesis import given
from hypothesis import strategies as st

from schemas import ClipRecord, MediaRecord
from stages.caption.sampling import fit_pixels, sample_picture, sample_times, sample_video
from wanprep.clip import make_clips
from wanprep.errors import MediaError
from wanprep.inputs import InputClip
from wanprep.media.geometry import Size
from wanprep.scan import look, media_of, scan
from wanprep.timeline import TimelineConfig


def whole(width: int, height: int) -> Size:
    return width, height


def clip_of(path: Path, *, start: float = 0.0, end: float | None = None) -> tuple[ClipRecord, MediaRecord]:
    item = InputClip(clip_id="clip", video=str(path), start=start, end=end)
    media, _ = scan(media_of([item]), {})
    (clip,) = make_clips([item], media, TimelineConfig(), "recipe")
    return clip, media[str(path)]


@pytest.mark.parametrize(
    ("seconds", "clip_fps", "fps", "most", "times"),
    [
        (1.0, 25.0, 3.0, 129, [0, 1 / 3, 2 / 3]),
        (1.04, 25.0, 3.0, 129, [0, 1 / 3, 2 / 3, 1]),
        (2.0, 2.0, 3.0, 129, [0, 0.5, 1, 1.5]),
        (0.04, 25.0, 3.0, 129, [0]),
        (8.0, 25.0, 3.0, 4, [0, 2, 4, 6]),
        (3600.0, 25.0, 3.0, 2, [0, 1800]),
        (9.0, 25.0, 3.0, 1, [0]),
    ],
)
def test_times(seconds: float, clip_fps: float, fps: float, most: int, times: list[float]) -> None:
    assert sample_times(seconds, clip_fps, fps, most).tolist() == pytest.approx(times)


@given(
    st.floats(0.01, 7200),
    st.sampled_from([1.0, 12.5, 23.976, 29.97, 60.0]),
    st.floats(0.1, 30),
    st.integers(1, 200),
)
def test_times_are_within_the_clip_and_even(seconds: float, clip_fps: float, fps: float, most: int) -> None:
    times_T = sample_times(seconds, clip_fps, fps, most)
    assert 1 <= len(times_T) <= most and times_T[0] == 0
    assert len(times_T) == 1 or times_T[-1] < seconds
    steps = np.diff(times_T)
    assert np.allclose(steps, steps[:1]) and (len(steps) == 0 or steps[0] >= 1 / fps * 0.999)


@pytest.mark.parametrize("fps", [25, 10, 29.97])
@pytest.mark.parametrize("start", [0.0, 0.4, 3.2])
def test_frames_are_those_of_the_clip_at_these_times(tmp_path: Path, fps: float, start: float) -> None:
    clip, media = clip_of(write_video(tmp_path / "a.mp4", int(6 * fps), fps=fps, flat=True), start=start)
    sample = sample_video(clip, media, fps=3.0, most=129, size=whole)
    assert sample.seconds == clip.seconds and sample.source_size == (64, 48)
    first = round(start * (clip.fps or 0))
    shown = [level_index(frame_HWC) for frame_HWC in sample.frames_THWC]
    for index, time in zip(shown, sample.times_T, strict=True):
        wanted = [(first + int(time * (clip.fps or 0) + off)) % 20 for off in (-0.25, 0.26)]
        assert index in wanted, f"at {time:.2f} s the clip shows another frame"
    assert len(shown) == len(sample_times(clip.seconds or 0, clip.fps or 0, 3.0, 129))


def test_one_frame_of_a_piece_is_its_first(tmp_path: Path) -> None:
    """The single frame was looked for far before the piece began."""
    clip, media = clip_of(write_video(tmp_path / "a.mp4", 150, flat=True), start=4.0)
    sample = sample_video(clip, media, fps=3.0, most=1, size=whole)
    assert level_index(sample.frames_THWC[0]) == 100 % 20


def test_turned_video_is_upright(tmp_path: Path) -> None:
    clip, media = clip_of(turn(write_video(tmp_path / "a.mp4", 10), 90))
    sample = sample_video(clip, media, fps=3.0, most=2, size=lambda w, h: (w // 2, h // 2))
    assert sample.source_size == (48, 64) and sample.frames_THWC.shape[1:] == (32, 24, 3)


def test_damaged_video_is_one_line(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 60, faststart=True)
    clip, media = clip_of(path)
    cut_file(path, 0.4)
    with pytest.raises(MediaError) as caught:
        sample_video(clip, media, fps=3.0, most=129, size=whole)
    assert "\n" not in str(caught.value)


def test_long_video_keeps_few_small_pictures(tmp_path: Path) -> None:
    clip, media = clip_of(write_video(tmp_path / "a.mp4", 400, size=(320, 240)))
    sample = sample_video(clip, media, fps=3.0, most=5, size=lambda w, h: fit_pixels(w, h, 2000, 2))
    assert sample.frames_THWC.shape[0] == 5 and sample.frames_THWC[0].nbytes <= 6000


def test_clip_without_video(tmp_path: Path) -> None:
    clip, media = clip_of(write_video(tmp_path / "a.mp4", 10))
    with pytest.raises(MediaError, match="does not exist"):
        sample_video(clip, replace(media, uri=str(tmp_path / "gone.mp4")), fps=3.0, most=1, size=whole)


def test_picture(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", (64, 48))
    sample = sample_picture(str(path), lambda w, h: (w // 2, h // 2))
    assert sample.medium == "reference" and sample.frames_THWC.shape == (1, 24, 32, 3)
    assert sample.seconds == 0 and sample.source_size == (64, 48)
    assert look(str(path), "image", 1, 1).error is None


@given(
    st.integers(1, 4000),
    st.integers(1, 4000),
    st.sampled_from([1024, 50_000, 200_704]),
    st.sampled_from([2, 28, 32]),
)
def test_sizes(width: int, height: int, most: int, multiple: int) -> None:
    across, down = fit_pixels(width, height, most, multiple)
    assert across % multiple == 0 and down % multiple == 0 and min(across, down) >= multiple
    assert across * down <= max(most, multiple**2)
    if min(across, down) > 4 * multiple:
        assert across / down == pytest.approx(width / height, rel=0.3)


def test_small_pictures_are_not_made_larger() -> None:
    assert fit_pixels(64, 48, 200_704, 2) == (64, 48)
    assert fit_pixels(1920, 1080, 448 * 448, 32) == (576, 320)

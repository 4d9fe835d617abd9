"""What is found in files, and the clips that are made of them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers.media import (
    cut_file,
    level_index,
    trim_by_edit_list,
    turn,
    write_picture,
    write_sound,
    write_video,
)

from schemas import ClipRecord, MediaRecord
from wanprep import scan as scan_module
from wanprep.clip import make_clips
from wanprep.errors import MediaError
from wanprep.inputs import InputClip
from wanprep.media.probe import probe
from wanprep.media.video import read_windows, window_frames
from wanprep.scan import media_of, scan
from wanprep.timeline import TimelineConfig


def look(path: Path, role: str = "video") -> MediaRecord:
    rows, _ = scan({str(path): role}, {})
    return rows[str(path)]


def clips_of(item: InputClip, **timeline: float) -> tuple[list[ClipRecord], Mapping[str, MediaRecord]]:
    media, _ = scan(media_of([item]), {})
    return list(make_clips([item], media, TimelineConfig.model_validate(timeline), "recipe")), media


def levels(path: Path, *, start: float = 0.0, end: float | None = None, **timeline: float) -> list[list[int]]:
    """Of each clip, the indices modulo 20 of the frames that it shows."""
    clips, media = clips_of(InputClip(clip_id="c", video=str(path), start=start, end=end), **timeline)
    shown = []
    for clip in clips:
        assert clip.why_not is None
        windows = list(read_windows(clip, media[str(path)]))
        assert [window.start for window in windows] == list(np.cumsum([0, *map(len, windows)])[:-1])
        frames = [level_index(frame) for window in windows for frame in window.rgb_THWC()]
        assert len(frames) == clip.frames
        shown.append(frames)
    return shown


def counting(frames: int) -> list[int]:
    return [index % 20 for index in range(frames)]


@pytest.mark.parametrize(
    ("name", "codec", "fps"),
    [
        ("a.mp4", "libx264", 25),
        ("a.mkv", "libx264", Fraction(30000, 1001)),
        ("a.mkv", "libx264", 60),
        ("a.webm", "libvpx-vp9", Fraction(24000, 1001)),
        ("a.mov", "mpeg4", 12),
        ("a.avi", "mpeg4", 30),
        ("a.ts", "libx264", 50),
        ("a.h264", "libx264", 25),
    ],
)
def test_constant_rate_shows_every_frame_once(tmp_path: Path, name: str, codec: str, fps: Fraction) -> None:
    path = write_video(
        tmp_path / name, 45, fps=fps, codec=codec, flat=True, b_frames=2 if codec == "libx264" else 0
    )
    row = look(path)
    assert (row.frames, row.variable_rate, row.error) == (45, False, None)
    assert row.fps == pytest.approx(float(fps), rel=1e-6)
    assert levels(path) == [counting(45)]


def test_raw_streams_are_cut_too(tmp_path: Path) -> None:
    """Pieces after the first second failed: such streams cannot seek."""
    path = write_video(tmp_path / "a.h264", 70, flat=True)
    assert levels(path, split_seconds=1.0) == [counting(25), counting(50)[25:], counting(70)[50:]]


def test_pieces_of_a_long_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 80, flat=True, b_frames=2)
    assert list(itertools.chain(*levels(path, split_seconds=0.7))) == counting(80)
    clips, _ = clips_of(InputClip(clip_id="c", video=str(path)), split_seconds=1.5)
    assert [clip.clip_id for clip in clips] == ["c-s0000", "c-s0001", "c-s0002"]
    assert [(clip.frames, clip.frames_4n1) for clip in clips] == [(38, 37), (38, 37), (4, 1)]


def test_start_and_end_within_a_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 80, flat=True)
    assert levels(path, start=0.4, end=0.8) == [list(range(10, 20))]
    assert levels(path, start=2.0, end=99) == [counting(80)[50:]]
    assert levels(path, start=2.0, fps=12.5) == [counting(80)[50::2]]
    (clip,), _ = clips_of(InputClip(clip_id="c", video=str(path), start=4))
    assert clip.why_not == "starts at 4 s, but the video is 3.20 s long"


def test_late_first_timestamp_is_the_start(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 30, flat=True, times=[2 + index / 25 for index in range(30)])
    assert look(path).first_time == pytest.approx(2.0)
    assert levels(path) == [counting(30)]
    assert levels(path, start=0.4, end=0.6) == [list(range(10, 15))]


def test_variable_rate_is_resampled_by_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 6, flat=True, times=[0, 0.04, 0.1, 0.3, 0.33, 0.35])
    assert look(path).variable_rate is True
    assert levels(path, fps=50) == [[0, 0, 1, 1, 1, *[2] * 10, 3, 3, 4, *[5] * 2]]


def test_edit_list_hides_frames(tmp_path: Path) -> None:
    """A trimmed video was taken for a truncated one: its container counts the hidden frames too."""
    path = trim_by_edit_list(write_video(tmp_path / "a.mp4", 40, flat=True, b_frames=2), 0.4, 0.4)
    row = look(path)
    assert (row.error, row.frames) == (None, 10)
    assert row.seconds == pytest.approx(0.4)
    assert levels(path) == [list(range(10, 20))]


def test_single_frame_at_another_rate(tmp_path: Path) -> None:
    """One frame at 1 fps is a second long; at 30 fps it was reported as truncated."""
    assert levels(write_video(tmp_path / "a.mp4", 1, fps=1, flat=True), fps=30) == [[0] * 30]


def test_short_last_step(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 11, flat=True, times=[*(i / 25 for i in range(10)), 0.361])
    assert len(levels(path, fps=100)[0]) == 40


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts"])
def test_cut_off_files_are_said_to_be(tmp_path: Path, suffix: str) -> None:
    """Matroska counts no frames: a file cut at 60 % passed for a shorter one. MPEG-TS tells nothing: it is made to
    be cut, but its last packet is not whole."""
    codec = "libx264" if suffix != "avi" else "mpeg4"
    path = cut_file(write_video(tmp_path / f"a.{suffix}", 100, codec=codec, faststart=suffix == "mp4"), 0.6)
    row = look(path)
    if suffix == "ts":
        assert row.error is None and (row.frames or 0) < 100
    else:
        assert row.error is not None and ("truncated" in row.error or "corrupt" in row.error)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_video_comes_upright(tmp_path: Path, degrees: int) -> None:
    path = write_video(tmp_path / "a.mp4", 3)
    (clip,), media = clips_of(InputClip(clip_id="c", video=str(path)))
    upright_HWC = next(read_windows(clip, media[str(path)])).rgb_THWC()[0].astype(int)
    turn(path, degrees)
    (clip,), media = clips_of(InputClip(clip_id="c", video=str(path)))
    assert (clip.width, clip.height) == ((48, 64) if degrees % 180 else (64, 48))
    window = next(read_windows(clip, media[str(path)]))
    shown_HWC = window.rgb_THWC()[0].astype(int)
    assert np.abs(shown_HWC - np.rot90(upright_HWC, -degrees // 90)).max() <= 2
    assert window.gray_THW((24, 32)).shape == (3, 32, 24)


def test_odd_sizes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 3, size=(301, 217), pixel_format="yuv444p")
    (clip,), media = clips_of(InputClip(clip_id="c", video=str(path)))
    assert (clip.width, clip.height) == (301, 217)
    frames_THWC = next(read_windows(clip, media[str(path)])).rgb_THWC()
    assert frames_THWC.shape == (3, 217, 301, 3) and frames_THWC.flags.c_contiguous
    assert not frames_THWC.flags.writeable


def test_windows_are_bounded_in_bytes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 20)
    (clip,), media = clips_of(InputClip(clip_id="c", video=str(path)))
    sizes = [len(window) for window in read_windows(clip, media[str(path)], budget=64 * 48 * 3 // 2 * 3)]
    assert sizes == [3] * 6 + [2]
    assert window_frames(7680, 4320, 1) == 1
    assert (
        max(window_frames(w, h) * w * h * 3 // 2 for w, h in ((1920, 1080), (3840, 2160), (64, 48)))
        <= 48 << 20
    )


def test_decoding_that_ends_early_is_an_error(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.ts", 50)
    (clip,), media = clips_of(InputClip(clip_id="c", video=str(path)))
    cut_file(path, 0.6)
    with pytest.raises(MediaError, match=r"truncated: decoding ends after \d+ of 50 frames"):
        list(read_windows(clip, media[str(path)]))


def test_roles_are_judged_one_by_one(tmp_path: Path) -> None:
    """A sound file that one clip named as its video by mistake could not be the sound of another."""
    song = str(write_sound(tmp_path / "song.wav"))
    film = str(write_video(tmp_path / "film.mp4", 4))
    items = [
        InputClip(clip_id="wrong", video=song),
        InputClip(clip_id="right", video=film, audio=song),
        InputClip(clip_id="mute", video=film, audio=film),
        InputClip(clip_id="face", video=film, reference=song),
    ]
    media, _ = scan(media_of(items), {})
    why = {clip.clip_id: clip.why_not for clip in make_clips(items, media, TimelineConfig(), "r")}
    assert why == {
        "wrong": "video: has no video stream: it is sound only (pcm_s16le, 0.5 s)",
        "right": None,
        "mute": "audio: has no audio stream",
        "face": "reference: has no video stream: it is sound only (pcm_s16le, 0.5 s)",
    }


@pytest.mark.parametrize("name", ["face.png", "face.jpg"])
def test_pictures_are_references(tmp_path: Path, name: str) -> None:
    row = look(write_picture(tmp_path / name), "image")
    assert (row.error, row.width, row.height, row.frames) == (None, 48, 64, 1)


def test_sound_and_picture_times(tmp_path: Path) -> None:
    row = look(write_video(tmp_path / "a.mp4", 25, sound=True))
    assert row.audio_codec == "aac" and row.audio_rate == 16_000
    assert row.audio_seconds == pytest.approx(1.0, abs=0.13)


def test_known_files_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = str(write_video(tmp_path / "a.mp4", 3)), str(tmp_path / "b.mp4")
    Path(bad).write_text("no video")
    wanted = {good: "video", bad: "video"}
    known, fresh = scan(wanted, {})
    assert len(fresh) == 2
    looked: list[str] = []
    monkeypatch.setattr(scan_module, "probe", lambda uri: looked.append(uri) or probe(uri))
    again, fresh = scan(wanted, known)
    assert again == known and fresh == []
    assert looked == [bad], "what was wrong is looked at again"
    os.utime(good, ns=(1, 1))
    assert [row.uri for row in scan(wanted, known)[1]] == [good]


def test_files_that_are_none(tmp_path: Path) -> None:
    """A named pipe called x.mp4 hung the scan."""
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "nowhere.mp4")
    assert look(tmp_path / "pipe.mp4").error == "is no regular file"
    assert look(tmp_path / "folder.mp4").error == "is no regular file"
    assert look(tmp_path / "link.mp4").error == "the file does not exist"


def test_same_content_has_the_same_digest(tmp_path: Path) -> None:
    one = write_video(tmp_path / "a.mp4", 3)
    two = tmp_path / "b.mp4"
    two.write_bytes(one.read_bytes())
    assert look(one).digest == look(two).digest
    two.write_bytes(one.read_bytes() + b"\0")
    assert look(one).digest != look(two).digest


def test_clips_without_video() -> None:
    clips, _ = clips_of(InputClip(clip_id="c", prompt="a dog"))
    assert [(clip.frames, clip.fps, clip.why_not, clip.prompt) for clip in clips] == [
        (0, None, None, "a dog")
    ]
    assert clips[0].seconds is None

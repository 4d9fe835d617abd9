"""The output file: what went in comes out, at its time, or nothing is left."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation
from helpers.media import frame_HWC, write_video

from wanprep.errors import MediaError, WanprepError
from wanprep_infer.output.video_file import Sound, VideoFile

WIDTH, HEIGHT = 96, 64
ACCURATE = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
CODECS = {".flac": "flac", ".m4a": "aac", ".mkv": "libopus"}
LAYOUTS = {"mono": 1, "stereo": 2, "5.1": 6}


def moving_THWC(frames: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Coloured waves, a different one in each channel."""
    return np.stack(
        [
            np.stack([frame_HWC(t * k, WIDTH, HEIGHT)[..., 0] for k in (1, 2, 3)], axis=-1)
            for t in range(frames)
        ]
    )


def write_click(
    path: Path, at: float, seconds: float, rate: int = 16_000, layout: str = "mono", pictures: int = 0
) -> Path:
    """10 ms of a steady level in silence, in every channel; with pictures at 25 a second, the first at 0.4 s."""
    samples_NC = np.zeros((round(seconds * rate), LAYOUTS[layout]), np.int16)
    samples_NC[round(at * rate) : round((at + 0.01) * rate)] = 20_000
    with av.open(str(path), "w") as container:
        codec = CODECS.get(path.suffix, "pcm_s16le")
        stream = container.add_stream(codec, rate=rate, layout=layout)
        if pictures:
            video = container.add_stream("libx264", rate=25)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            for index in range(pictures):
                picture = av.VideoFrame.from_ndarray(frame_HWC(index), format="rgb24")
                picture.pts, picture.time_base = index + 10, Fraction(1, 25)
                container.mux(video.encode(picture))
            container.mux(video.encode(None))
        for start in range(0, len(samples_NC), 1000):
            block = np.ascontiguousarray(samples_NC[start : start + 1000]).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write(path: Path, frames: int, fps: Fraction | float = 16, sound: Sound | None = None) -> Path:
    frames_THWC = moving_THWC(frames)
    with VideoFile(path, fps=fps, width=WIDTH, height=HEIGHT, sound=sound) as video:
        for start in range(0, frames, 7):
            video.add(frames_THWC[start : start + 7])
    return path


def heard(path: Path) -> tuple[float | None, float, int]:
    """When the file's click begins in seconds (None: silence), when its sound ends, and its channels."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        end = float((stream.start_time + stream.duration) * stream.time_base)
        blocks, zero, rate, channels = [], None, stream.rate, stream.channels
        for frame in container.decode(stream):
            zero = frame.time if zero is None else zero
            blocks.append(frame.to_ndarray().mean(axis=0))
        loud = np.abs(np.concatenate(blocks)) > 0.2
        assert zero is not None
        return (zero + float(np.argmax(loud)) / rate if loud.any() else None), end, channels


@pytest.mark.parametrize(
    ("fps", "frames"), [(16, 33), (Fraction(30_000, 1001), 31), (29.97002997, 31), (23.976, 1), (60.0, 12)]
)
def test_rate_count_size_and_duration_are_exact(tmp_path: Path, fps: Fraction | float, frames: int) -> None:
    path = write(tmp_path / "video.mp4", frames, fps)
    exact = Fraction(fps).limit_denominator(1001)
    with av.open(str(path)) as container:
        (stream,) = container.streams
        assert isinstance(stream, av.VideoStream)
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height) == (WIDTH, HEIGHT)
        assert stream.average_rate == exact and stream.frames == frames
        assert stream.duration is not None and stream.time_base is not None
        assert stream.duration * stream.time_base == frames / exact
        times = [frame.time for frame in container.decode(stream)]
    assert times == pytest.approx([index / float(exact) for index in range(frames)], abs=1e-4)
    assert os.listdir(tmp_path) == ["video.mp4"]


def test_frames_are_what_went_in_and_tagged_as_bt709(tmp_path: Path) -> None:
    path = write(tmp_path / "video.mp4", 20)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace) == (1, 1, 1)
        assert context.color_range == 1
        found_THWC = np.stack(
            [frame.to_ndarray(format="rgb24", interpolation=ACCURATE) for frame in container.decode(video=0)]
        )
    error_THWC = found_THWC.astype(np.float64) - moving_THWC(20)
    assert 10 * np.log10(255**2 / np.mean(error_THWC**2)) > 38
    assert np.abs(error_THWC.mean(axis=(0, 1, 2))).max() < 0.5  # no colour is shifted
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat") and b"nclx" in data


def test_primary_colours_are_coded_by_bt709s_formula(tmp_path: Path) -> None:
    colours_N3 = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [180, 90, 40]])
    picture_HWC = np.repeat(np.repeat(colours_N3.reshape(1, 6, 3), 16, axis=1), 16, axis=0).astype(np.uint8)
    with VideoFile(tmp_path / "v.mp4", fps=16, width=96, height=16, quality=0) as video:
        video.add(picture_HWC[None])
    with av.open(str(tmp_path / "v.mp4")) as container:
        frame = next(container.decode(video=0))
        luma, blue, red = (
            np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
            for plane in frame.planes
        )
    rgb_N3 = colours_N3 / 255
    y_N = rgb_N3 @ np.array([0.2126, 0.7152, 0.0722])  # ITU-R BT.709, 3.2
    np.testing.assert_allclose(luma[8, 8::16], 16 + 219 * y_N, atol=1)
    np.testing.assert_allclose(blue[4, 4::8], 128 + 224 * (rgb_N3[:, 2] - y_N) / 1.8556, atol=1)
    np.testing.assert_allclose(red[4, 4::8], 128 + 224 * (rgb_N3[:, 0] - y_N) / 1.5748, atol=1)


@pytest.mark.parametrize(
    ("rate", "layout", "suffix"),
    [
        (16_000, "mono", ".wav"),
        (44_100, "stereo", ".wav"),
        (8_000, "stereo", ".flac"),
        (48_000, "5.1", ".wav"),
        (96_000, "mono", ".flac"),
        (44_100, "stereo", ".m4a"),
        (48_000, "mono", ".mkv"),
    ],
)
def test_a_click_is_heard_at_its_time(tmp_path: Path, rate: int, layout: str, suffix: str) -> None:
    sound = write_click(tmp_path / f"click{suffix}", 1.25, 3.0, rate, layout)
    path = write(tmp_path / "video.mp4", 32, 16, Sound(str(sound), 0.0, None))
    time, end, channels = heard(path)
    assert time == pytest.approx(1.25, abs=0.005)
    assert end == pytest.approx(2.0, abs=0.001)  # cut to the pictures
    assert channels == min(2, LAYOUTS[layout])
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        assert container.streams.video[0].frames == 32


@pytest.mark.parametrize(
    ("start", "seconds", "delay", "expected"),
    [
        (0.0, None, 0.5, 1.5),
        (0.0, None, -0.1875, 0.8125),
        (0.25, None, 0.0, 0.75),
        (0.25, 1.0, 0.5, 1.25),
        (0.0, 0.5, 0.0, None),  # the click lies after the part
        (0.0, 1.2, -1.1, None),
        (0.75, 5.0, -0.125, 0.125),  # a part that is longer than the file
        (0.0, 0.5, -0.75, "none"),  # nothing of the part is left
    ],
)
def test_a_part_of_the_sound_is_put_where_it_belongs(
    tmp_path: Path, start: float, seconds: float | None, delay: float, expected: float | str | None
) -> None:
    sound = write_click(tmp_path / "click.wav", 1.0, 1.5)
    path = write(tmp_path / "video.mp4", 32, 16, Sound(str(sound), start, seconds, delay))
    if expected == "none":
        with av.open(str(path)) as container:
            assert not container.streams.audio and container.streams.video[0].frames == 32
        return
    time, end, _ = heard(path)
    assert time == (None if expected is None else pytest.approx(expected, abs=0.005))
    assert end <= 2.001


def test_a_video_knows_whether_it_has_sound(tmp_path: Path) -> None:
    """Named after the bug: side-cars of videos without a sound stream said that they had one."""
    source = str(write_click(tmp_path / "click.wav", 0.2, 1.0))
    for sound, expected in (
        (None, False),
        (Sound(source, 0, None), True),
        (Sound(source, 0, 0.5, -0.75), False),
    ):
        with VideoFile(tmp_path / "v.mp4", fps=16, width=WIDTH, height=HEIGHT, sound=sound) as video:
            assert video.has_sound is expected
            video.add(moving_THWC(3))
        with av.open(str(tmp_path / "v.mp4")) as container:
            assert bool(container.streams.audio) is expected


def test_a_videos_own_sound_keeps_step_with_its_pictures(tmp_path: Path) -> None:
    source = write_click(tmp_path / "late.mov", 1.0, 1.4, 48_000, "stereo", pictures=25)
    path = write(tmp_path / "video.mp4", 16, 16, Sound(str(source), 0.2, None))
    assert heard(path)[0] == pytest.approx(1.0 - 0.4 - 0.2, abs=0.005)


def test_sound_that_breaks_in_the_middle_keeps_the_pictures_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wanprep_infer.output import soundtrack

    def breaking(*_: object, rate: int, **__: object) -> Iterator[np.ndarray[Any, Any]]:
        yield np.full(rate // 2, 0.5, np.float32)
        raise MediaError("damaged: the sound stops decoding near 0.50 s (Invalid data)")

    monkeypatch.setattr(soundtrack, "read_audio", breaking)
    path, source = tmp_path / "v.mp4", write_click(tmp_path / "click.wav", 0.2, 1.0)
    with VideoFile(path, fps=16, width=96, height=64, sound=Sound(str(source), 0, None)) as video:
        assert video.sound_cut_short is None
        video.add(moving_THWC(32))
    assert (
        video.sound_cut_short
        == f"sound {source}: damaged: the sound stops decoding near 0.50 s (Invalid data)"
    )
    assert heard(path)[1] == pytest.approx(0.5, abs=0.001)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 32


@pytest.mark.parametrize("what", ["missing", "silent video", "text"])
def test_sound_that_cannot_be_read_is_known_before_the_first_frame(tmp_path: Path, what: str) -> None:
    source = tmp_path / "source.mp4"
    if what == "silent video":
        write_video(source, 3)
    elif what == "text":
        source.write_text("no media")
    out = tmp_path / "out"
    with (
        pytest.raises(WanprepError, match=f"^sound {source}: ") as caught,
        VideoFile(out / "v.mp4", fps=16, width=96, height=64, sound=Sound(str(source), 0, None)),
    ):
        raise AssertionError("entered")
    assert "\n" not in str(caught.value)
    assert os.listdir(out) == []


def test_after_an_error_nothing_is_left_and_the_file_before_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(b"before")
    with (
        pytest.raises(OSError, match="of the generator"),
        VideoFile(path, fps=16, width=WIDTH, height=HEIGHT) as video,
    ):
        video.add(moving_THWC(3))
        raise OSError(errno.EIO, "of the generator")  # not to be told as the file's own
    assert os.listdir(tmp_path) == ["video.mp4"] and path.read_bytes() == b"before"
    write(path, 3)
    assert path.read_bytes() != b"before"


_FILL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from wanprep.errors import MediaError, WanprepError
from wanprep_infer.output.video_file import VideoFile
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
noise = np.random.default_rng(0).integers(0, 256, (12, 64, 96, 3), dtype=np.uint8)
try:
    with VideoFile(Path(sys.argv[1]), fps=16, width=96, height=64, quality=0) as video:
        video.add(noise)
except WanprepError as error:
    print(error)
"""


def test_a_disk_that_is_full_is_one_line_whenever_it_fills(tmp_path: Path) -> None:
    def fill(limit: int) -> str:
        done = subprocess.run(
            [sys.executable, "-c", _FILL, str(tmp_path / "v.mp4"), str(limit)],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert fill(1 << 30) == ""
    whole = (tmp_path / "v.mp4").stat().st_size
    (tmp_path / "v.mp4").unlink()
    for limit in (1000, whole - 100):  # while frames are written, and while the index is put in front
        assert fill(limit) == f"{tmp_path}/v.mp4 cannot be written (File too large)\n"
        assert os.listdir(tmp_path) == []


def test_an_encoder_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "v.mp4"

    def fail(*_: object) -> None:
        raise av.ExternalError(errno.EINVAL, "Generic error in an external library")

    with (
        pytest.raises(
            WanprepError, match=r"v\.mp4 cannot be written \(Generic error in an external library\)$"
        ),
        VideoFile(path, fps=16, width=WIDTH, height=HEIGHT) as video,
    ):
        monkeypatch.setattr(video, "_picture", fail)
        video.add(moving_THWC(1))
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(WanprepError, match=r"file/v\.mp4 cannot be written"),
        VideoFile(tmp_path / "file" / "v.mp4", fps=16, width=WIDTH, height=HEIGHT),
    ):
        raise AssertionError("entered")


def test_a_video_without_frames_is_none(tmp_path: Path) -> None:
    with (
        pytest.raises(WanprepError, match=r"v\.mp4: no frame was generated for it"),
        VideoFile(tmp_path / "v.mp4", fps=16, width=WIDTH, height=HEIGHT),
    ):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 97}, "97x64 is no size of Wan's: sides are multiples of 16 pixels"),
        ({"height": 0}, "96x0 is no size of Wan's"),
        ({"width": 100}, "100x64 is no size of Wan's"),
        ({"fps": 0.0}, "a video has 1 to 1000 frames a second, not 0"),
        ({"fps": Fraction(1, 2)}, "not 0.5"),
        ({"fps": float("nan")}, "not nan"),
        ({"quality": 52}, r"quality is 0 \(best\) to 51, not 52"),
    ],
)
def test_what_no_file_can_have_is_one_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    options: dict[str, Any] = {"fps": 16, "width": WIDTH, "height": HEIGHT, **change}
    with pytest.raises(WanprepError, match=message):
        VideoFile(tmp_path / "v.mp4", **options)


@pytest.mark.parametrize(
    "frames_THWC", [np.zeros((1, 64, 80, 3), np.uint8), np.zeros((1, 64, 96, 3), np.float32)]
)
def test_frames_of_another_shape_or_type_are_refused(
    tmp_path: Path, frames_THWC: np.ndarray[Any, Any]
) -> None:
    with (
        pytest.raises(ValueError, match="for a video of 96x64"),
        VideoFile(tmp_path / "v.mp4", fps=16, width=WIDTH, height=HEIGHT) as video,
    ):
        video.add(frames_THWC)


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    sound = Sound(str(write_click(tmp_path / "click.wav", 0.3, 1.0)), 0.0, None)
    one, two = (write(tmp_path / name, 16, 16, sound).read_bytes() for name in ("one.mp4", "two.mp4"))
    assert one == two


def test_sound_is_read_no_further_than_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wanprep_infer.output import soundtrack

    given = 0

    def endless(*_: object, rate: int, **__: object) -> Any:
        nonlocal given
        while True:
            given += 1000
            yield np.zeros(1000, np.float32)

    monkeypatch.setattr(soundtrack, "read_audio", endless)
    sound = Sound(str(write_click(tmp_path / "click.wav", 0.3, 1.0)), 0.0, None)
    with VideoFile(tmp_path / "v.mp4", fps=16, width=WIDTH, height=HEIGHT, sound=sound) as video:
        for _ in range(3):
            video.add(moving_THWC(16))
            assert video.frames / 16 * 48_000 - 1024 <= given <= video.frames / 16 * 48_000 + 2000

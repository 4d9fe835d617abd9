"""Sound arrives mono, at the rate asked for, and in step with the picture."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from wanprep.errors import MediaError
from wanprep.media.audio import read_audio

RATE = 44_100


def tone(seconds: float, hertz: float = 440.0, rate: int = RATE) -> NDArray[np.float32]:
    time = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def noise(seconds: float) -> NDArray[np.float32]:
    """Low noise, the same each time and unlike itself at any other place."""
    white = np.random.default_rng(7).standard_normal(round(seconds * RATE))
    return (np.convolve(white, np.hanning(40), "same") / 20).astype(np.float32)


def click(seconds: float, at: float, rate: int = RATE) -> NDArray[np.float32]:
    """Silence with a 2 ms burst that begins `at` seconds after the start."""
    sound = np.zeros(round(seconds * rate), np.float32)
    sound[round(at * rate) : round((at + 0.002) * rate)] = 0.9
    return sound


def write(
    path: Path,
    channels_CN: NDArray[np.float32],
    codec: str = "pcm_s16le",
    *,
    rate: int = RATE,
    first: int = 0,
    hole: tuple[int, int] = (0, 0),
    video_from: float | None = None,
) -> str:
    """Encodes [channels, samples].

    `first` is the place of the first sample on the container clock; `hole` leaves out those samples but not
    their time; `video_from` adds pictures from that second on.
    """
    layout = "stereo" if len(channels_CN) == 2 else "mono"
    with av.open(str(path), "w") as container:
        video = None
        if video_from is not None:
            video = container.add_stream("mpeg4", rate=25)
            video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        stream = container.add_stream(codec, rate=rate, layout=layout)
        if video is not None:
            for index in range(25):
                picture = av.VideoFrame.from_ndarray(
                    np.full((32, 32, 3), index * 9, np.uint8), format="rgb24"
                )
                picture.pts, picture.time_base = round(video_from * 25) + index, Fraction(1, 25)
                container.mux(video.encode(picture))
            container.mux(video.encode(None))
        source = "s16" if codec == "pcm_s16le" else "fltp"
        size = stream.codec_context.frame_size or 1024
        for begin in range(0, channels_CN.shape[1], size):
            if hole[0] <= begin < hole[1]:
                continue
            part = np.ascontiguousarray(channels_CN[:, begin : begin + size])
            if source == "s16":
                part = np.round(part.T.reshape(1, -1) * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(part, format=source, layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, first + begin, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return str(path)


def read(uri: str, **options: float) -> NDArray[np.float32]:
    blocks = list(read_audio(uri, **options))  # type: ignore[arg-type]
    assert all(block.dtype == np.float32 and block.ndim == 1 for block in blocks)
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def onset(sound: NDArray[np.float32], rate: int = 16_000) -> float:
    """Seconds at which the sound rises to half its peak."""
    loud = np.abs(sound)
    return float(np.argmax(loud > 0.5 * loud.max())) / rate


CODECS = {"wav": "pcm_s16le", "mp4": "aac", "mp3": "libmp3lame", "mkv": "pcm_s16le"}


@pytest.mark.parametrize("suffix", CODECS)
def test_a_tone_survives_decoding_and_resampling(tmp_path: Path, suffix: str) -> None:
    uri = write(tmp_path / f"tone.{suffix}", tone(1.5)[None], CODECS[suffix])
    sound = read(uri)
    assert abs(len(sound) - 24_000) <= 2_000  # encoders round up to whole frames
    middle = sound[4_000:20_000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) * 16_000 / len(middle) == pytest.approx(440, abs=1.5)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.06)


@pytest.mark.parametrize("suffix", CODECS)
def test_a_click_lands_where_it_was(tmp_path: Path, suffix: str) -> None:
    uri = write(tmp_path / f"click.{suffix}", click(1.5, 0.7)[None], CODECS[suffix])
    assert onset(read(uri)) == pytest.approx(0.7, abs=0.002)


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "aac"), ("mkv", "pcm_s16le")])
@pytest.mark.parametrize(("video_from", "sound_from"), [(0.0, 0.0), (0.4, 0.0), (0.0, 0.25)])
def test_sound_is_in_step_with_the_first_picture(
    tmp_path: Path, suffix: str, codec: str, video_from: float, sound_from: float
) -> None:
    sound = click(1.5, 0.8)[None]
    uri = write(
        tmp_path / f"sync.{suffix}", sound, codec, first=round(sound_from * RATE), video_from=video_from
    )
    with av.open(uri) as container:
        picture = next(container.decode(video=0))
        origin = float(picture.pts * picture.time_base)
    assert origin == pytest.approx(video_from, abs=0.002)
    expected = sound_from + 0.8 - video_from
    assert onset(read(uri, origin=origin, seconds=1.2)) == pytest.approx(expected, abs=0.002)


def test_stereo_is_averaged_and_keeps_the_level_of_a_mono_recording(tmp_path: Path) -> None:
    same = read(write(tmp_path / "same.wav", np.stack([tone(1.0), tone(1.0)])))
    opposed = read(write(tmp_path / "opposed.wav", np.stack([tone(1.0), -tone(1.0)])))
    one_side = read(write(tmp_path / "one.wav", np.stack([tone(1.0), 0 * tone(1.0)])))
    assert np.abs(same[2000:-2000]).max() == pytest.approx(0.5, rel=0.01)
    assert np.abs(opposed).max() < 1e-3
    assert np.abs(one_side[2000:-2000]).max() == pytest.approx(0.25, rel=0.01)


def lag(part: NDArray[np.float32], whole: NDArray[np.float32], place: int) -> int:
    """Samples by which `part` lies late against what `whole` has at `place`."""
    lags = np.arange(-60, 61)
    middle = slice(1_000, len(part) - 1_000)
    gaps = [np.abs(part[middle] - whole[place - step :][: len(part)][middle]).max() for step in lags]
    assert min(gaps) < 0.25 * np.abs(part).max()  # the same sound, but for the phase of the two rates
    return int(lags[np.argmin(gaps)])


@pytest.mark.parametrize("suffix", CODECS)
def test_an_offset_start_finds_the_same_sound_as_reading_from_the_beginning(
    tmp_path: Path, suffix: str
) -> None:
    uri = write(tmp_path / f"noise.{suffix}", noise(4.0)[None], CODECS[suffix])
    whole = read(uri)
    for start in (0.5, 2.25):  # within the seek margin, and beyond it
        part = read(uri, start=start, seconds=1.0)
        assert len(part) == 16_000
        assert abs(lag(part, whole, round(start * 16_000))) <= 16  # a container's millisecond


def test_short_sound_is_padded_to_the_exact_length(tmp_path: Path) -> None:
    sound = read(write(tmp_path / "short.wav", tone(0.5)[None]), seconds=1.23456)
    assert len(sound) == round(1.23456 * 16_000)
    assert np.abs(sound[:7_900]).max() > 0.4
    assert not sound[8_100:].any()


def test_long_sound_is_cut_to_the_exact_length(tmp_path: Path) -> None:
    assert len(read(write(tmp_path / "long.wav", tone(2.0)[None]), seconds=0.7777)) == round(0.7777 * 16_000)


def test_a_start_after_the_end_gives_silence(tmp_path: Path) -> None:
    sound = read(write(tmp_path / "short.wav", tone(0.5)[None]), start=4.0, seconds=0.25)
    assert len(sound) == 4_000
    assert not sound.any()


def test_a_hole_becomes_silence_and_what_follows_keeps_its_time(tmp_path: Path) -> None:
    sound = read(write(tmp_path / "hole.mkv", noise(2.0)[None], hole=(20 * 1024, 40 * 1024)))
    whole = read(write(tmp_path / "whole.mkv", noise(2.0)[None]))
    first, last = 20 * 1024 / RATE, 40 * 1024 / RATE
    assert len(sound) == pytest.approx(32_000, abs=20)
    inside = sound[round(first * 16_000) + 50 : round(last * 16_000) - 50]
    assert np.abs(inside).max() < 1e-3
    after = slice(round(last * 16_000) + 50, 31_900)
    assert abs(lag(sound[after], whole, after.start)) <= 16  # a container's millisecond


def test_other_rates(tmp_path: Path) -> None:
    uri = write(tmp_path / "tone.wav", tone(1.0, rate=16_000)[None], rate=16_000)
    assert len(read(uri)) == 16_000
    assert len(read(uri, rate=48_000)) == pytest.approx(48_000, abs=2)
    assert np.abs(read(uri) - tone(1.0, rate=16_000)).max() < 1e-4


def test_blocks_are_bounded_however_long_the_silence(tmp_path: Path) -> None:
    uri = write(tmp_path / "short.wav", tone(0.5)[None])
    sizes = [len(block) for block in read_audio(uri, seconds=60.0)]
    assert sum(sizes) == 960_000
    assert max(sizes) <= 65_536


def test_errors_say_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    silent = tmp_path / "silent.mp4"
    with av.open(str(silent), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width = video.height = 32
        container.mux(video.encode(av.VideoFrame(32, 32, "yuv420p")))
        container.mux(video.encode(None))
    text = tmp_path / "text.wav"
    text.write_text("no sound at all")
    cases = {
        str(silent): "has no audio stream",
        str(text): "cannot be opened as media",
        str(tmp_path / "absent.wav"): "the file does not exist",
    }
    for uri, expected in cases.items():
        with pytest.raises(MediaError, match=expected) as caught:
            read(uri)
        assert "\n" not in str(caught.value)

"""Sound features are what they are called, the same however the sound comes, and in step with the frames."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from schemas import AudioRecord, ClipRecord, MediaRecord
from stages.audio import Audio, AudioConfig
from stages.audio.features import FEATURE_NAMES, analyse
from stages.audio.logmel import LogMel, hertz_to_mel, mel_bands, mel_to_hertz, slopes
from stages.audio.steps import HOP, around_steps, step_count
from stages.audio.voicing import SPAN, voicing
from wanprep.errors import MediaError
from wanprep.stage import ClipContext, Skipped

RATE = 16_000
GOLDEN = Path(__file__).parents[2] / "data" / "audio" / "logmel_torchaudio.npz"
Samples = NDArray[np.float32]


def sine(seconds: float, hertz: float, level: float = 0.5) -> Samples:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def voice(seconds: float, hertz: float) -> Samples:
    """Harmonics of a pitch, weaker the higher they are."""
    harmonics = [sine(seconds, hertz * n, 0.3 / n) for n in range(1, 12)]
    return np.sum(harmonics, axis=0, dtype=np.float32)


def noise(seconds: float, level: float = 0.1) -> Samples:
    return (level * np.random.default_rng(3).standard_normal(round(seconds * RATE))).astype(np.float32)


def pieces(sound: Samples) -> Samples:
    return np.concatenate(list(around_steps([sound], SPAN // 2, 100)))


def wav(path: Path, sound: Samples) -> str:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.round(sound[None] * 32767).astype(np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return str(path)


def context(folder: Path, **clip: object) -> ClipContext:
    return ClipContext(ClipRecord(clip_id="clip", recipe="recipe", **clip), {}, folder)  # type: ignore[arg-type]


def run(folder: Path, sound: Samples, **clip: object) -> AudioRecord:
    uri = wav(folder / "sound.wav", sound)
    record = Audio(AudioConfig()).run(context(folder, audio=uri, **clip), {})
    assert isinstance(record, AudioRecord)
    return record


def feature(record: AudioRecord, name: str) -> NDArray[np.float64]:
    return np.asarray(record.features_TC)[:, record.feature_names.index(name)].astype(np.float64)


def test_bands_and_log_mel_equal_torchaudio() -> None:
    golden = np.load(GOLDEN)
    np.testing.assert_allclose(mel_bands(), golden["bands_FC"], atol=2e-7)
    log_mel_TC, _ = LogMel()(pieces(golden["pcm_N"].astype(np.float32) / 32768))
    # torchaudio adds a step at the very end; its float32 transform differs by 3e-4 where energy is low.
    np.testing.assert_allclose(log_mel_TC, golden["log_mel_TC"][:60], atol=1e-3)
    padded_TC = np.pad(log_mel_TC, ((2, 2), (0, 0)), mode="edge")
    np.testing.assert_allclose(slopes(padded_TC)[:58], golden["slope_TC"][:58], atol=1e-3)


def test_the_mel_scale_is_slaneys() -> None:
    # 1000 Hz is mel 15, and 27 mels more are 6.4 times that.
    np.testing.assert_allclose(hertz_to_mel(np.array([0.0, 200.0, 1000.0, 6400.0])), [0, 3, 15, 42])
    hertz = np.linspace(0, 8000, 50)
    np.testing.assert_allclose(mel_to_hertz(hertz_to_mel(hertz)), hertz, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(cuts=st.lists(st.integers(0, 4_000), max_size=6), steps=st.integers(1, 9))
def test_pieces_do_not_depend_on_the_blocks(cuts: list[int], steps: int) -> None:
    sound = np.arange(4_000, dtype=np.float32)
    blocks = np.split(sound, sorted(cuts))
    found = list(around_steps(blocks, 400, steps))
    assert [len(part) for part in found[:-1]] == [steps] * (len(found) - 1)
    found_TN = np.concatenate(found)
    padded = np.pad(sound, 400, constant_values=0)
    expected_TN = np.stack([padded[step * HOP : step * HOP + 800] for step in range(step_count(4_000))])
    np.testing.assert_array_equal(found_TN, expected_TN)


def test_streaming_equals_one_pass(tmp_path: Path) -> None:
    sound = np.concatenate([voice(1.3, 140), noise(0.9), np.zeros(5_000, np.float32), sine(0.7, 900)])

    def blocks() -> Iterator[Samples]:
        yield from np.split(sound, range(777, len(sound), 777))

    one = analyse(context(tmp_path), [sound], batch=10_000)
    many = analyse(context(tmp_path), blocks(), batch=37)
    assert one.samples == many.samples == len(sound)
    np.testing.assert_allclose(many.mel_TC[:], one.mel_TC[:], atol=1e-4)
    for name in ("power_T", "voicing_T", "pitch_T", "centroid_T"):
        np.testing.assert_allclose(getattr(many, name), getattr(one, name), rtol=1e-4, atol=1e-5)


def test_features_over_batches_equal_features_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = np.concatenate([voice(2.0, 180), noise(1.5)])
    whole = run(tmp_path, sound)
    monkeypatch.setattr("stages.audio.features._BATCH", 23)
    parts = run(tmp_path, sound)
    np.testing.assert_allclose(
        np.asarray(parts.features_TC, np.float32),
        np.asarray(whole.features_TC, np.float32),
        rtol=2e-3,
        atol=2e-3,
    )
    np.testing.assert_allclose(parts.std_C, whole.std_C, rtol=1e-3)


@pytest.mark.parametrize("hertz", [70.0, 110.0, 196.0, 261.6, 390.0])
def test_a_voices_pitch_is_found(hertz: float) -> None:
    voicing_T, pitch_T = voicing(pieces(voice(1.0, hertz)))
    assert voicing_T[2:-2].min() > 0.95
    np.testing.assert_allclose(pitch_T[2:-2], hertz, rtol=0.01)


def test_noise_silence_and_faint_hum_are_not_voiced() -> None:
    assert np.quantile(voicing(pieces(noise(2.0)))[0], 0.95) < 0.5
    assert voicing(pieces(np.zeros(RATE, np.float32)))[0].max() == 0
    assert voicing(pieces(sine(1.0, 100, level=3e-5)))[0].max() < 0.2


def test_a_record_says_what_is_in_it(tmp_path: Path) -> None:
    pause = np.zeros(RATE // 2, np.float32)
    record = run(tmp_path, np.concatenate([pause, voice(1.0, 150), pause]))
    assert record.backend == "logmel-v1"
    assert (record.rate, record.sample_rate, record.seconds) == (50.0, RATE, 2.0)
    assert np.asarray(record.features_TC).shape == (100, 245) == (100, len(record.feature_names))
    assert np.asarray(record.features_TC).dtype == np.float16
    assert len(set(FEATURE_NAMES)) == 245
    assert record.voiced_share == pytest.approx(0.5, abs=0.03)
    assert feature(record, "pitch_hz")[30:70] == pytest.approx(150, rel=0.01)
    assert not feature(record, "pitch_hz")[80:].any()
    assert np.argmax(feature(record, "onset")) in (24, 25)
    assert feature(record, "onset")[30:70].max() < 0.1 * feature(record, "onset").max()
    normal_TC = record.normalised_TC()
    assert np.abs(normal_TC.mean(axis=0)).max() < 0.02
    varied_C = np.asarray(record.std_C) > 1e-3
    np.testing.assert_allclose(normal_TC.std(axis=0)[varied_C], 1, atol=0.02)


def test_loudness_is_in_decibels_of_full_scale(tmp_path: Path) -> None:
    record = run(tmp_path, np.concatenate([sine(1.0, 440, 0.5), np.zeros(RATE, np.float32)]))
    assert feature(record, "rms_db")[5:45] == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.1)
    assert feature(record, "rms_db")[55:] == pytest.approx(-100)
    # Half of the time silent: 3 dB less on average.
    assert record.mean_loudness == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)) - 3.01, abs=0.15)


def test_the_centroid_of_a_tone_is_its_frequency(tmp_path: Path) -> None:
    assert feature(run(tmp_path, sine(1.0, 1234)), "centroid_hz")[3:-3] == pytest.approx(1234, rel=0.01)


@pytest.mark.parametrize("fps", [16.0, 25.0, 29.97, 60.0])
def test_curves_follow_the_frames(tmp_path: Path, fps: float) -> None:
    frames = round(2 * fps)
    sound = np.concatenate([np.zeros(RATE, np.float32), voice(1.0, 150)])
    record = run(tmp_path, sound, fps=fps, frames=frames)
    assert len(record.loudness_T) == len(record.voicing_T) == frames
    assert record.frame_rate == fps
    assert record.seconds == pytest.approx(frames / fps, abs=1e-4)
    rise = int(np.argmax(np.asarray(record.loudness_T) > -30))
    assert abs(rise / fps - 1.0) <= 1.1 / fps
    voicing_T = np.asarray(record.voicing_T)
    assert voicing_T[: int(0.9 * fps)].max() < 0.1
    assert voicing_T[int(1.1 * fps) : int(1.9 * fps)].min() > 0.9


def test_a_clip_takes_its_own_part_of_the_sound(tmp_path: Path) -> None:
    sound = np.concatenate([sine(1.0, 300), sine(1.0, 900), sine(1.0, 2500)])
    middle = run(tmp_path, sound, start=1.0, end=2.0)
    assert middle.seconds == 1.0
    assert np.median(feature(middle, "centroid_hz")) == pytest.approx(900, rel=0.01)
    short = run(tmp_path, sound, start=2.5, fps=25.0, frames=25)
    assert short.seconds == 1.0  # as long as the pictures; silence after the sound
    assert np.asarray(short.loudness_T)[15:] == pytest.approx(-100)


@pytest.mark.parametrize("seconds", [1.5, 3.0])
def test_sound_that_decides_the_length_is_whole(tmp_path: Path, seconds: float) -> None:
    uri = wav(tmp_path / "sound.wav", sine(seconds, 300))
    video = media(video_codec="h264", seconds=2.0)
    stage = Audio(AudioConfig(length="sound"))

    def of(start: float, end: float) -> AudioRecord:
        facts = {"start": start, "end": end, "fps": 16.0, "frames": round((end - start) * 16)}
        clip = ClipRecord(clip_id="clip", recipe="recipe", video="clip.mp4", audio=uri, **facts)  # type: ignore[arg-type]
        made = stage.run(ClipContext(clip, {"video": video}, tmp_path), {})
        assert isinstance(made, AudioRecord) and len(made.loudness_T) == clip.frames
        return made

    whole = of(0.0, 2.0)
    assert whole.seconds == seconds
    loudness_T = np.asarray(whole.loudness_T)
    ends = min(32, round(seconds * 16))
    assert loudness_T[1 : ends - 1].min() > -10
    assert ends == 32 or loudness_T[ends + 1 :].max() == -100
    assert of(1.0, 2.0).seconds == seconds - 1.0
    assert of(0.0, 1.0).seconds == 1.0  # a part of the video has a part of the sound


def media(**fields: object) -> MediaRecord:
    values = {"uri": "clip.mp4", "kind": "video", "size": 1, "modified_ns": 0, "digest": "0", **fields}
    return MediaRecord(**values)  # type: ignore[arg-type]


def test_a_silent_video_is_skipped_with_a_reason(tmp_path: Path) -> None:
    clip = ClipRecord(clip_id="clip", recipe="recipe", video="clip.mp4", fps=25.0, frames=10)
    without = ClipContext(clip, {"video": media(video_codec="h264")}, tmp_path)
    assert Audio(AudioConfig()).run(without, {}) == Skipped("no sound", 0.0)


def test_the_videos_sound_counts_from_its_first_frame(tmp_path: Path) -> None:
    uri = wav(tmp_path / "sound.wav", np.concatenate([np.zeros(RATE, np.float32), voice(1.0, 150)]))
    clip = ClipRecord(clip_id="clip", recipe="recipe", video=uri, fps=25.0, frames=25)
    with_sound = media(uri=uri, audio_codec="pcm_s16le", first_time=0.6)
    record = Audio(AudioConfig()).run(ClipContext(clip, {"video": with_sound}, tmp_path), {})
    assert isinstance(record, AudioRecord)
    assert int(np.argmax(np.asarray(record.loudness_T) > -30)) == pytest.approx(10, abs=1)
    assert record.seconds == 1.0


def test_sound_after_its_end_is_skipped_with_a_reason(tmp_path: Path) -> None:
    uri = wav(tmp_path / "sound.wav", noise(0.5))
    result = Audio(AudioConfig()).run(context(tmp_path, audio=uri, start=3.0), {})
    assert result == Skipped("the sound ends before the clip begins", 0.0)


def test_a_single_sample_is_a_sound(tmp_path: Path) -> None:
    record = run(tmp_path, sine(1.0, 440)[100:101])
    assert record.seconds == 1 / RATE
    assert np.asarray(record.features_TC).shape == (1, 245)
    assert np.isfinite(np.asarray(record.features_TC, np.float32)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_fail_with_one_line(tmp_path: Path, value: float) -> None:
    sound = sine(1.0, 440)
    sound[5_000] = value
    path = tmp_path / "float.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound[None], format="flt", layout="mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match="not finite") as caught:
        Audio(AudioConfig()).run(context(tmp_path, audio=str(path)), {})
    assert "\n" not in str(caught.value)

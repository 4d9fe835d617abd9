"""A sound file is a clip when it is named, and log-mel features are never taken for speech states."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.media import write_sound, write_video
from typer.testing import CliRunner

import wanprep
from schemas import AudioRecord
from wanprep.cli import app
from wanprep.errors import UsageError
from wanprep.inputs import read_inputs
from wanprep_infer.conditioning import coverage, unfit_reason


def touched(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return str(path)


@pytest.mark.parametrize("name", ["talk.wav", "Talk.MP3", "talk.m4a", "talk.opus"])
def test_a_named_sound_file_is_an_audio_clip(tmp_path: Path, name: str) -> None:
    (clip,) = read_inputs([touched(tmp_path / name)]).clips
    assert (clip.audio, clip.video) == (str(tmp_path / name), None)
    assert clip.clip_id.lower().startswith("talk-")


def test_a_pattern_of_sound_files_gives_audio_clips_and_others_do_not(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "b.mp4", "c.txt"):
        touched(tmp_path / name)
    found = read_inputs([str(tmp_path / "*.wav")])
    assert [clip.audio for clip in found.clips] == [str(tmp_path / "a.wav"), str(tmp_path / "b.wav")]
    everything = read_inputs([str(tmp_path / "*")])
    assert [clip.video for clip in everything.clips] == [str(tmp_path / "b.mp4")]
    assert everything.ignored == 3


def test_sound_beside_videos_in_a_folder_is_no_clip(tmp_path: Path) -> None:
    touched(tmp_path / "in/a.mp4")
    touched(tmp_path / "in/a.wav")
    found = read_inputs([str(tmp_path / "in")])
    assert [(clip.video, clip.audio) for clip in found.clips] == [(str(tmp_path / "in/a.mp4"), None)]
    (tmp_path / "in/a.mp4").unlink()
    with pytest.raises(UsageError, match="no clips"):
        read_inputs([str(tmp_path / "in")])


def test_reference_and_prompt_are_of_every_clip_that_has_none_of_its_own(tmp_path: Path) -> None:
    sound, picture = touched(tmp_path / "talk.wav"), touched(tmp_path / "face.png")
    manifest = tmp_path / "clips.csv"
    manifest.write_text("audio,prompt,reference\ntalk.wav,sings,\ntalk.wav,,other.png\n")
    clips = read_inputs([sound, manifest], reference=picture, prompt="talks").clips
    assert [(clip.audio, clip.reference, clip.prompt) for clip in clips] == [
        (sound, picture, "talks"),
        (sound, picture, "sings"),
        (sound, str(tmp_path / "other.png"), "talks"),
    ]
    assert len({clip.clip_id for clip in clips}) == 3
    (plain,) = read_inputs([sound]).clips
    assert (plain.reference, plain.prompt) == (None, None)


def test_given_sound_is_of_every_clip_that_has_none_of_its_own(tmp_path: Path) -> None:
    video, sound = touched(tmp_path / "pose.mp4"), touched(tmp_path / "talk.wav")
    manifest = tmp_path / "clips.csv"
    manifest.write_text("video,audio\npose.mp4,\npose.mp4,other.wav\n")
    clips = read_inputs([video, manifest], audio=sound).clips
    assert [(clip.video, clip.audio) for clip in clips] == [
        (video, sound),  # named, and in the manifest: one clip
        (video, str(tmp_path / "other.wav")),
    ]
    (plain,) = read_inputs([video]).clips
    assert plain.audio is None and plain.clip_id != clips[0].clip_id


def test_given_sound_must_be_there_and_is_not_for_a_sound_file(tmp_path: Path) -> None:
    video, sound = touched(tmp_path / "pose.mp4"), touched(tmp_path / "talk.wav")
    with pytest.raises(UsageError, match=r"audio .*absent\.wav: there is no such file"):
        read_inputs([video], audio=tmp_path / "absent.wav")
    with pytest.raises(UsageError, match="audio exec://x: media are not read through exec://"):
        read_inputs([video], audio="exec://x")
    with pytest.raises(
        UsageError, match=r"talk\.wav: is a sound file, and audio .*pose\.mp4 is given for it too"
    ):
        read_inputs([video, sound], audio=video)


def test_run_and_plan_take_sound_for_a_video(tmp_path: Path) -> None:
    write_video(tmp_path / "pose.mp4", 8, fps=16)
    write_sound(tmp_path / "talk.wav", 0.5)
    arguments = [str(tmp_path / "pose.mp4"), "--store", str(tmp_path / "store"), "--only", "audio"]
    given = [*arguments, "--audio", str(tmp_path / "talk.wav")]
    planned = CliRunner().invoke(app, ["plan", *given, "--json"])
    assert planned.exit_code == 0 and json.loads(planned.stdout)["to_do"] == 1
    ran = CliRunner().invoke(app, ["run", *given, "--engine", "inline", "--json"])
    assert ran.exit_code == 0, ran.output
    (clip,) = wanprep.open(str(tmp_path / "store")).clips()
    assert clip.record.audio == str(tmp_path / "talk.wav")
    assert clip.audio.mean_loudness > -30  # the video itself is silent
    assert json.loads(CliRunner().invoke(app, ["plan", *given, "--json"]).stdout)["to_do"] == 0
    wrong = CliRunner().invoke(app, ["plan", *given[1:], str(tmp_path / "talk.wav")])
    assert isinstance(wrong.exception, UsageError)


def test_a_reference_that_is_not_there_and_a_prompt_without_end_are_refused(tmp_path: Path) -> None:
    sound = touched(tmp_path / "talk.wav")
    with pytest.raises(UsageError, match="there is no such file"):
        read_inputs([sound], reference=tmp_path / "absent.png")
    with pytest.raises(UsageError, match="longer than"):
        read_inputs([sound], prompt="x" * 100_000)


def audio(backend: str, states_TLC: np.ndarray | None = None) -> AudioRecord:
    row_T = np.zeros(4, np.float32)
    return AudioRecord(
        backend=backend,
        sample_rate=16_000,
        seconds=0.08,
        rate=50.0,
        features_TC=np.zeros((4, 2), np.float16),
        feature_names=["a", "b"],
        mean_C=np.zeros(2, np.float32),
        std_C=np.zeros(2, np.float32),
        loudness_T=row_T,
        voicing_T=row_T,
        frame_rate=50.0,
        mean_loudness=-20.0,
        voiced_share=0.5,
        states_TLC=states_TLC,
        states_rate=None if states_TLC is None else 30.0,
    )


class Clip:
    """A stored clip that has an audio record alone."""

    def __init__(self, record: AudioRecord) -> None:
        self._record = record

    def get(self, stage: str) -> AudioRecord | None:
        return self._record if stage == "audio" else None


def test_features_without_weights_are_unfit_for_s2v_and_it_says_so_in_one_sentence() -> None:
    found = coverage(Clip(audio("logmel-v1")), "s2v")  # type: ignore[arg-type]
    assert found.unfit == ("audio",)
    assert not found.ready
    (sentence,) = found.reasons
    assert "logmel-v1" in sentence
    assert "--set audio.backend=wav2vec2" in sentence
    assert "\n" not in sentence


def test_speech_states_are_fit() -> None:
    record = audio("wav2vec2", np.zeros((2, 25, 8), np.float32))
    assert unfit_reason("audio", record) is None
    assert coverage(Clip(record), "s2v").present == ("audio",)  # type: ignore[arg-type]
    assert record.states_LTC(1).shape == (25, 1, 8)

"""Sound to video from the command line with tiny models: a text that a program speaks, and poses that are asked for."""

from __future__ import annotations

import json
import shlex
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import numpy as np
import torch
from helpers.media import write_picture
from PIL import Image

from wanprep.models.tiny import make_tiny
from wanprep_infer import cli

pytestmark = pytest.mark.slow

MODELS = ("wav2vec2-large-xlsr-53-english", "umt5-xxl", "wan2.1-vae", "wan2.2-s2v-14b")
SPEAKER = """
import sys, wave
import numpy as np
words = sys.argv[2].split()
tone = np.sin(np.arange(16000 * len(words) // 4) * 0.1) * 8000
with wave.open(sys.argv[1], "wb") as file:
    file.setparams((1, 2, 16000, 0, "NONE", ""))
    file.writeframes(tone.astype("<i2").tobytes())
open(sys.argv[0] + ".log", "a").write("spoken\\n")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A picture, a text, a program that speaks a quarter of a second a word, tiny models."""
    made = tmp_path_factory.mktemp("generate")
    write_picture(made / "portrait.png", (96, 96))
    (made / "speech.txt").write_text("three short; words\n")
    (made / "speak.py").write_text(SPEAKER)
    list(make_tiny(made / "models", MODELS))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield made
    torch.set_num_threads(threads)


def command(folder: Path, *arguments: str) -> int:
    """The exit code of `wanprep-infer s2v` with small settings."""
    chosen = [
        *("s2v", "--models", str(folder / "models"), "--out", str(folder / "out")),
        *("--set", "caption=false", "--set", "reference_latents.size.s2v_area=4096"),
        *("--model", str(folder / "models" / "wan2.2-s2v-14b")),
        *("--steps", "1", "--frames-per-clip", "8", "--device", "cpu", *arguments),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["wanprep-infer", *chosen])
        try:
            cli.main()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def generate(folder: Path, *arguments: str) -> int:
    """Of a text that is spoken."""
    return command(
        folder,
        *("--from-media", str(folder / "speech.txt"), "--prompt", "A woman talks"),
        *("--tts-command", f"{shlex.quote(sys.executable)} {folder / 'speak.py'} {{out}} {{text}}"),
        *("--reference", str(folder / "portrait.png"), "--guidance", "2", *arguments),
    )


def test_a_text_is_spoken_shown_and_heard(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert generate(folder, "--strict") == 0
    (video,) = (folder / "out").glob("*.mp4")
    (sound,) = (folder / "out").glob("speech-*.wav")
    about = json.loads(video.with_suffix(".json").read_text())
    assert about["clip"]["audio"] == str(sound) and about["clip"]["prompt"] == "A woman talks"
    assert {"audio", "text", "negative_text", "reference_latents"} == set(about["made_from"]["artifacts"])
    with av.open(str(video)) as container:
        shown, heard = container.streams.video[0], container.streams.audio[0]
        assert (shown.frames, shown.average_rate) == (12, 16), "0.75 s"
        assert float(heard.duration * heard.time_base) == pytest.approx(0.75, abs=0.03)
        assert len(list(container.decode(video=0))) == 12
    assert "2 segments of 1 step" in capfd.readouterr().err

    assert generate(folder, "--json") == 0
    assert json.loads(capfd.readouterr().out)["counts"] == {
        "made": 0,
        "already": 1,
        "skipped": 0,
        "failed": 0,
    }
    assert (folder / "speak.py.log").read_text() == "spoken\n", "the same text is spoken once"


def test_poses_that_are_asked_for_and_not_there_are_a_reason(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert generate(folder, "--pose", "required", "--preset", "s2v") == 0
    said = capfd.readouterr().out
    assert "skipped" in said and "has no stage 's2v_pose_latents'; Wan2.2-S2V needs" in said
    assert "`wanprep run --preset s2v-pose`" in said and "1 skipped" in said


def test_a_text_that_is_none_is_one_line(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "speech.txt").write_bytes(b"\xff\xfe\x00")
    assert generate(folder) == 2
    said = capfd.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "is no UTF-8 text" in said.err


def test_bad_input_is_one_clear_sentence_each(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_picture(folder / "small.png", (16, 16))
    Image.new("RGB", (8000, 8000), (90, 90, 90)).save(folder / "large.png")
    for name, samples in (("good", 8000), ("short", 100), ("silent", 8000), ("empty", 0)):
        tone_T = np.sin(np.arange(samples) * 0.1) * (0 if name == "silent" else 8000)
        with wave.open(str(folder / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(tone_T.astype("<i2").tobytes())
    rows = [
        ("short", "portrait"),
        ("empty", "portrait"),
        ("silent", "portrait"),
        ("good", "small"),
        ("good", "large"),
    ]
    lines = [f"{sound}-{picture},{sound}.wav,{picture}.png,A woman talks" for sound, picture in rows]
    (folder / "bad.csv").write_text("\n".join(["id,audio,reference,prompt", *lines]) + "\n")

    assert command(folder, "--from-media", str(folder / "bad.csv"), "--guidance", "1", "--json") == 0
    outcomes = {item["clip_id"]: item for item in json.loads(capfd.readouterr().out)["outcomes"]}
    assert {name: item["state"] for name, item in outcomes.items()} == {
        "short-portrait": "skipped",
        "empty-portrait": "failed",
        "silent-portrait": "made",
        "good-small": "made",
        "good-large": "made",
    }
    assert "the sound is shorter than" in outcomes["short-portrait"]["why"]
    assert "audio" in outcomes["empty-portrait"]["why"]
    assert any("the sound is silent" in text for text in outcomes["silent-portrait"]["warnings"])
    assert all("\n" not in str(item["why"]) for item in outcomes.values())


@pytest.mark.parametrize("other", ["wan2.1-vae", "umt5-xxl"])
def test_a_checkpoint_of_another_model_is_one_line(
    other: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--from-media", str(folder / "portrait.png"), "--model", str(folder / "models" / other)]
    assert command(folder, *arguments) == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1, "nothing is prepared before"
    assert said.startswith("wanprep-infer: ") and "S2V model" in said

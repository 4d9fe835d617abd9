"""Animate from the command line, tiny models, the drawn clip: from the store and from media, the same to the bit."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import torch

from wanprep import cli as wanprep_cli
from wanprep.models.tiny import make_tiny
from wanprep.sample.clip import plan_clip, render_frames, write_sample_clip
from wanprep.sample.look import varied_look
from wanprep_infer import cli

pytestmark = pytest.mark.slow

FRAMES, RATE = 11, 30
MODELS = ("umt5-xxl", "clip-vit-h-14", "wan2.1-vae", "wan2.2-animate-14b")
# Segments of 9 frames rather than 77, of which 11 frames need two.
OPTIONS = [
    "shared.size.area=12288",
    "pose_latents.segment_frames=9",
    "pose_latents.segment_overlap=1",
]
REPLACE_OPTIONS = [
    *OPTIONS,
    "background_latents.segment_frames=9",
    "background_latents.segment_overlap=1",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clip, a picture, tiny models."""
    made = tmp_path_factory.mktemp("generate")
    write_sample_clip(made / "clip.mp4", seconds=FRAMES / RATE, fps=RATE, size=(320, 240))
    look = varied_look(3)
    _, poses = plan_clip(0.1, 10, 3, look)
    Image.fromarray(next(render_frames(poses, size=(320, 240), look=look))).save(made / "character.png")
    list(make_tiny(made / "models", MODELS))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield made
    torch.set_num_threads(threads)


def run(main: Any, scratch: Path, *arguments: str) -> int:
    scratch.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["command", *arguments])
        patch.setattr(tempfile, "tempdir", str(scratch))
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def media(folder: Path, sets: Sequence[str] = OPTIONS) -> list[str]:
    return [
        *("--reference", str(folder / "character.png"), "--prompt", "A figure waves"),
        *("--models", str(folder / "models")),
        *(part for option in sets for part in ("--set", option)),
    ]


def generate(folder: Path, out: str, *arguments: str) -> list[Path]:
    """The videos of one command line, by name."""
    model = str(folder / "models" / "wan2.2-animate-14b")
    chosen = ["--model", model, "--out", str(folder / out), "--steps", "1", "--device", "cpu", *arguments]
    assert run(cli.main, folder / "scratch", "animate", *chosen, "--strict") == 0
    return sorted((folder / out).glob("*.mp4"))


def test_from_the_store_and_from_media_the_same_to_the_bit(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clip, store = str(folder / "clip.mp4"), str(folder / "store")
    assert (
        run(
            wanprep_cli.main,
            folder / "scratch",
            "run",
            clip,
            "--store",
            store,
            "--preset",
            "animate",
            "--engine",
            "inline",
            *media(folder),
        )
        == 0
    )
    (cached,) = generate(folder, "cached", "--store", store, "--seed", "3")
    (direct,) = generate(folder, "direct", "--from-media", clip, "--seed", "3", *media(folder))
    assert cached.name == direct.name
    assert list((folder / "scratch").iterdir()) == [], "what was prepared for the moment is gone"
    assert cached.read_bytes() == direct.read_bytes()
    about, theirs = (json.loads(path.with_suffix(".json").read_text()) for path in (cached, direct))
    assert about["key"] == theirs["key"] and about["made_from"] == theirs["made_from"]
    said = capfd.readouterr()
    assert "expect noise" in said.out
    assert "2 segments of 1 step" in said.err

    frames_THWC = []
    with av.open(str(cached)) as container:
        video, (sound,) = container.streams.video[0], container.streams.audio
        assert (video.frames, video.average_rate) == (FRAMES, RATE)
        assert (video.width, video.height) == (about["video"]["width"], about["video"]["height"])
        assert 10_000 <= video.width * video.height <= 15_000
        assert float(sound.duration * sound.time_base) == pytest.approx(FRAMES / RATE, abs=0.05)
        frames_THWC = [frame.to_ndarray(format="rgb24") for frame in container.decode(video)]
    assert len(frames_THWC) == FRAMES
    assert min(float(np.std(frame)) for frame in frames_THWC) > 5, "noise, not a flat picture"

    (again,) = generate(folder, "cached", "--store", store, "--seed", "3", "--json")
    assert again == cached
    assert json.loads(capfd.readouterr().out)["counts"]["already"] == 1
    (silent,) = generate(folder, "silent", "--store", store, "--seed", "3", "--no-sound")
    assert silent.name != cached.name
    with av.open(str(silent)) as container:
        assert not container.streams.audio
        quiet_THWC = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert np.array_equal(quiet_THWC, frames_THWC), "the sound changes no frame"


def test_replacement_in_several_segments_needs_the_driving_video_as_it_was(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clip, store = folder / "replaced.mp4", str(folder / "replace-store")
    clip.write_bytes((folder / "clip.mp4").read_bytes())
    prepared = ["run", str(clip), "--store", store, "--preset", "animate-replace", "--engine", "inline"]
    assert run(wanprep_cli.main, folder / "scratch", *prepared, *media(folder, REPLACE_OPTIONS)) == 0
    (video,) = generate(folder, "replaced", "--store", store, "--mode", "replace")
    assert "--replace-s0-" in video.name and "2 segments of 1 step" in capfd.readouterr().err
    about = json.loads(video.with_suffix(".json").read_text())
    assert {"replace_mask", "background_latents"} <= set(about["made_from"]["artifacts"])
    with av.open(str(video)) as container:
        assert container.streams.video[0].frames == FRAMES
        assert len(list(container.decode(video=0))) == FRAMES

    clip.write_bytes(clip.read_bytes() + b"changed")
    assert generate(folder, "replaced", "--store", store, "--mode", "replace", "--seed", "1") == [video]
    said = capfd.readouterr().out
    assert "has changed since the clip was prepared" in said and "0 made, 1 skipped" in said

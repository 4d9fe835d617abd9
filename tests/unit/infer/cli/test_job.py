"""Clips x prompts x seeds: what is made, skipped, failed, there already; and what a killed or second run does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import wanprep
from wanprep.errors import UsageError, WanprepError
from wanprep_infer.generate import generate
from wanprep_infer.jobs import making
from wanprep_infer.jobs.summary import GenerationSummary
from wanprep_infer.load_options import Options
from wanprep_infer.memory.config import MemoryConfig

MakeStore = Callable[..., str]
Diary = Callable[[], list[str]]


def job(store: str, model: str, out: Path, **more: Any) -> GenerationSummary:
    return generate("test_noise", store=store, model=model, out=out, **{"engine_name": "inline", **more})


def states(summary: GenerationSummary) -> dict[str, str]:
    return {f"{item.clip_id} {item.seed}": item.state for item in summary.outcomes}


def generated(diary: Diary) -> list[str]:
    return [line for line in diary() if line.startswith("generate")]


def side_car(path: str | Path | None) -> dict[str, Any]:
    assert path is not None
    document: dict[str, Any] = json.loads(Path(path).with_suffix(".json").read_text())
    return document


def another_process(store: str, model: str, out: Path, settings: dict[str, Any]) -> str:
    plugins = str(Path(__file__).parents[3] / "plugins")
    return (
        f"import sys; sys.path.insert(0, {plugins!r})\n"
        "from wanprep_infer.generate import generate\n"
        f"made = generate('test_noise', store={store!r}, model={model!r}, out={str(out)!r}, "
        f"settings={settings!r}).made\n"
        "assert made and all(item.frames == 8 for item in made), made"
    )


def test_every_clip_has_an_outcome(make_store: MakeStore, model: str, diary: Diary, tmp_path: Path) -> None:
    prompts = ["good", "infinite", "misfit", "raise", "short", "unfit", "warned"]
    summary = job(make_store(*prompts), model, tmp_path / "out", seeds=[1, 2])
    assert states(summary) == {
        **{f"{name} {seed}": "made" for name in ("good", "warned") for seed in (1, 2)},
        **{f"{name} {seed}": "failed" for name in ("infinite", "raise", "short") for seed in (1, 2)},
        **{f"misfit {seed}": "skipped" for seed in (1, 2)},
        "unfit None": "skipped",
    }
    why = {item.clip_id: item.why for item in summary.outcomes}
    assert why["raise"] == "ValueError: no good"
    assert why["unfit"] == "has the wrong size: run again with another"
    assert why["misfit"] == "is for another model: run again with that"
    assert "not finite" in str(why["infinite"])
    assert why["short"] == "RuntimeError: 4 frames were generated, 8 were planned"
    assert [line for line in diary() if line.startswith("load")] == [f"load {os.getpid()}"], "loaded once"
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(files) == 8, "a video and a side-car each, and nothing of what failed"
    assert all(name.startswith(("good--noise-s", "warned--noise-s")) for name in files)


def test_a_side_car_says_what_a_video_is(make_store: MakeStore, model: str, tmp_path: Path) -> None:
    summary = job(make_store("warned"), model, tmp_path / "out", seeds=[7])
    (made,) = summary.made
    about = side_car(made.file)
    assert about["key"] == made.key and Path(made.file or "").stem.endswith(f"-s7-{about['key'][:8]}")
    assert about["video"]["bytes"] == Path(made.file or "").stat().st_size
    assert {
        name: about["video"][name] for name in ("frames", "fps", "width", "height", "seconds", "sound")
    } == {
        "frames": 8,
        "fps": 8.0,
        "width": 32,
        "height": 16,
        "seconds": 1.0,
        "sound": False,
    }
    assert about["seed"] == 7 and about["warnings"] == ["mind the gap"]
    assert about["weights"] == "random, tiny model: noise is expected"
    assert {"wanprep", "torch", "diffusers"} <= set(about["versions"])
    assert about["made"]["peak_bytes"] > 0 and about["made"]["seconds"] > 0
    assert set(about["made_from"]["artifacts"]) == {"text"}
    assert set(about["model"]["digests"]) == {"transformer", "vae"}
    with av.open(str(made.file)) as container:
        stream = container.streams.video[0]
        assert (stream.frames, stream.average_rate, stream.width, stream.height) == (8, 8, 32, 16)


def test_an_identical_request_is_not_computed_twice(
    make_store: MakeStore, model: str, diary: Diary, tmp_path: Path
) -> None:
    store, out = make_store("a", "b"), tmp_path / "out"
    job(store, model, out, seeds=[1])
    assert len(generated(diary)) == 2
    again = job(store, model, out, seeds=[1])
    assert {item.state for item in again.outcomes} == {"already"}
    assert {item.frames for item in again.outcomes} == {8}
    assert len(diary()) == 3, "not even the model is loaded"
    more = job(store, model, out, seeds=[1, 2], clips=["b"])
    assert states(more) == {"b 1": "already", "b 2": "made"}
    forced = job(store, model, out, seeds=[1], clips=["a"], force=True)
    assert states(forced) == {"a 1": "made"}


@pytest.mark.parametrize("harm", ["cut", "changed", "no video", "no side-car", "side-car cut", "another key"])
def test_what_is_not_whole_is_made_again(
    harm: str, make_store: MakeStore, model: str, diary: Diary, tmp_path: Path
) -> None:
    store, out = make_store("a"), tmp_path / "out"
    (made,) = job(store, model, out).made
    video = Path(made.file or "")
    content, about = video.read_bytes(), video.with_suffix(".json")
    if harm == "cut":
        video.write_bytes(content[:-1])
    elif harm == "changed":
        video.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif harm == "no video":
        video.unlink()
    elif harm == "no side-car":
        about.unlink()
    elif harm == "side-car cut":
        about.write_bytes(about.read_bytes()[:-20])
    else:
        about.write_text(about.read_text().replace(str(made.key), "0" * 32))
    assert states(job(store, model, out)) == {"a 0": "made"}
    assert video.read_bytes() == content, "the same frames give the same file"
    assert states(job(store, model, out)) == {"a 0": "already"}


def test_prompts_are_rows_of_the_store(make_store: MakeStore, model: str, tmp_path: Path) -> None:
    store, out = make_store("a", "b", "c"), tmp_path / "out"
    own = job(store, model, out, clips=["a"], seeds=[1])
    lent = job(store, model, out, clips=["a"], texts_of=["a", "b"], seeds=[1])
    assert {(item.text_of, item.state) for item in lent.outcomes} == {("b", "made"), (None, "already")}
    (made,) = lent.made
    assert made.key != own.made[0].key
    about = side_car(made.file)
    assert about["clip"]["text_of"] == "b" and about["clip"]["prompt"] == "b"
    theirs = job(store, model, tmp_path / "other", clips=["b"], seeds=[1])
    assert about["made_from"]["artifacts"] == side_car(theirs.made[0].file)["made_from"]["artifacts"]


def test_clips_with_equal_keys_each_get_their_video(
    make_store: MakeStore, model: str, tmp_path: Path
) -> None:
    """Named after the bug: equal requests of two clips were taken for one, and the second clip for done."""
    summary = job(make_store("a", "b"), model, tmp_path / "out", texts_of=["b"])
    assert states(summary) == {"a 0": "made", "b 0": "made"}
    assert len({item.key for item in summary.made}) == 1
    assert len({item.file for item in summary.made}) == 2


def test_a_damaged_store_fails_one_clip_and_not_the_job(
    make_store: MakeStore, model: str, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(make_store("a", "b"), store)
    for path in (store / "artifacts" / "text").iterdir():
        if path.suffix == ".parquet":
            path.write_bytes(b"")
    summary = job(str(store), model, tmp_path / "out")
    assert {item.state for item in summary.outcomes} == {"failed"} and len(summary.outcomes) == 2
    assert all("text" in str(item.why) for item in summary.outcomes)


def test_a_full_disk_ends_the_job(
    make_store: MakeStore, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise WanprepError("out cannot be written (No space left on device)") from OSError(28, "full")

    monkeypatch.setattr(making.side_car, "write", full)
    with pytest.raises(WanprepError, match="No space left"):
        job(make_store("a", "b"), model, tmp_path / "out")


def test_bad_usage_is_one_line(make_store: MakeStore, model: str, tmp_path: Path) -> None:
    store, out = make_store("a", "b"), tmp_path / "out"
    with pytest.raises(UsageError, match=r"--clip nobody: .* has no clip 'nobody'"):
        job(store, model, out, clips=["nobody"])
    with pytest.raises(UsageError, match=r"--clip 'x\*': fits no clip"):
        job(store, model, out, clips=["x*"])
    with pytest.raises(UsageError, match=r"--seed -1: is out of range"):
        job(store, model, out, seeds=[-1])
    with pytest.raises(UsageError, match=r"--steps 0: input should be greater"):
        job(store, model, out, settings={"steps": 0})
    with pytest.raises(UsageError, match="test_noise has no setting 'stepz'"):
        job(store, model, out, settings={"stepz": 1})
    with pytest.raises(UsageError, match="there is no such file"):
        job(store, str(tmp_path / "nothing"), out)
    with pytest.raises(UsageError, match="no engine is called 'raz'; did you mean 'ray'"):
        job(store, model, out, engine_name="raz")
    with pytest.raises(UsageError, match="leave one of the two out"):
        job(store, model, out, address="auto")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file; give a folder"):
        job(store, model, tmp_path / "file")
    assert not out.exists(), "nothing was begun"


def sounding_store(folder: Path) -> str:
    """A store with a clip that has a sound file of its own, which lies beside the store."""
    (folder / "clips.csv").write_text("id,prompt,audio\na,a,tone.wav\n")
    write_tone(folder / "tone.wav", 440)
    recipe = {"stages": {"text": {"backend": "hashed-ngram"}}}
    wanprep.run(folder / "clips.csv", store=folder / "store", recipe=recipe, engine="inline")
    return str(folder / "store")


def write_tone(path: Path, hertz: int) -> None:
    tone_T = (np.sin(np.arange(32_000) * 2 * np.pi * hertz / 16_000) * 8_000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(tone_T.tobytes())


def test_sound_that_has_changed_since_is_not_put_under_the_old_key(model: str, tmp_path: Path) -> None:
    """Named after the bug: whatever lay at the path of a clip's sound was muxed, under the key of what it had been."""
    store, tone = sounding_store(tmp_path), tmp_path / "tone.wav"
    (made,) = job(store, model, tmp_path / "out").made
    assert side_car(made.file)["video"]["sound"] is True
    write_tone(tone, 880)
    assert states(job(store, model, tmp_path / "out")) == {"a 0": "already"}, "it was made of what it was"
    (changed,) = job(store, model, tmp_path / "other").outcomes
    assert changed.state == "skipped"
    assert changed.why == (
        f"its sound {tone} has changed since the clip was prepared: put the file that it was prepared from back, "
        "run `wanprep run` again, or take --no-sound"
    )
    tone.unlink()
    (gone,) = job(store, model, tmp_path / "other").outcomes
    assert gone.state == "skipped" and f"its sound {tone} the file does not exist" in str(gone.why)
    (silent,) = job(store, model, tmp_path / "other", sound=False).made
    assert silent.key != made.key and side_car(silent.file)["video"]["sound"] is False
    write_tone(tone, 440)
    assert states(job(store, model, tmp_path / "other")) == {"a 0": "made"}, "another time, the same content"


def test_without_sound_the_key_says_none_whether_or_not_sound_was_asked_for(
    make_store: MakeStore, model: str, tmp_path: Path
) -> None:
    """Named after the bug: clips without sound were made twice, with --sound and with --no-sound."""
    (made,) = job(make_store("a"), model, tmp_path / "out").made
    assert side_car(made.file)["made_from"]["sound"] is None
    assert states(job(make_store("a"), model, tmp_path / "out", sound=False)) == {"a 0": "already"}


def test_a_gpu_that_is_lost_fails_one_generation_and_ends_the_process_part(
    make_store: MakeStore, model: str, diary: Diary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named after the bug: after a fault in a kernel every later clip failed with it."""
    monkeypatch.setattr(making.memory_use, "gpu_is_lost", lambda: False)
    heard: list[str] = []
    monkeypatch.setattr(
        GenerationSummary, "add", lambda _, outcomes: heard.extend(f"{x.clip_id} {x.state}" for x in outcomes)
    )
    with pytest.raises(WanprepError) as caught:
        job(make_store("a", "broken", "c"), model, tmp_path / "out")
    assert heard == ["a made", "broken failed"]
    assert len(generated(diary)) == 2, "what can only fail is not tried"
    message = str(caught.value)
    assert "\n" not in message and "illegal memory access" in message and "--engine ray" in message


def test_a_model_that_does_not_fit_the_gpu_is_one_line(make_store: MakeStore, tmp_path: Path) -> None:
    """Named after the bug: torch's own error of many lines came out."""
    (tmp_path / "model").write_text("large")
    with pytest.raises(
        WanprepError, match=r"does not fit the GPU's memory .*; try --offload model"
    ) as caught:
        job(make_store("a", "b"), str(tmp_path / "model"), tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_what_loading_warns_of_is_said_with_every_video(make_store: MakeStore, tmp_path: Path) -> None:
    """Named after the bug: that tensors of a LoRA were left out went into a log that nobody hears."""
    (tmp_path / "model").write_text("odd")
    summary = job(make_store("a", "b", "warned"), str(tmp_path / "model"), tmp_path / "out")
    note = "LoRA x: some tensors are left out"
    assert {item.clip_id: item.warnings for item in summary.made} == {
        "a": (note,),
        "b": (note,),
        "warned": (note, "mind the gap"),
    }
    assert side_car(summary.made[0].file)["warnings"] == [note]


def test_bad_usage_is_told_before_the_model_is_read(
    make_store: MakeStore, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named after the bug: a bad seed was told after 40 GB of weights had been hashed."""
    from wanprep_test_plugins.generator import NoiseGenerator

    def read(*_: Any) -> None:
        raise AssertionError("the model was read")

    monkeypatch.setattr(NoiseGenerator, "model", read)
    bad: list[dict[str, Any]] = [
        {"seeds": [-1]},
        {"engine_name": "raz"},
        {"workers": 0},
        {"options": Options(loras=("no.safetensors",))},
        {
            "options": Options(memory=MemoryConfig(parallel="ulysses")),
            "engine_name": "auto",
            "address": "auto",
        },
    ]
    for wrong in bad:
        with pytest.raises(WanprepError):
            job(make_store("a", "b"), model, tmp_path / "out", **wrong)


def test_one_clip_may_be_named_without_a_list(make_store: MakeStore, model: str, tmp_path: Path) -> None:
    """Named after the bug: the letters of the name were taken for clips."""
    summary = job(make_store("a", "raise"), model, tmp_path / "out", clips="a", texts_of="a")
    assert states(summary) == {"a 0": "made"}


def test_a_folder_without_rights_is_known_before_the_model_is_loaded(
    make_store: MakeStore, model: str, diary: Diary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(WanprepError, match="out: cannot be written"):
        job(make_store("a", "b"), model, tmp_path / "out")
    assert diary() == []


@pytest.mark.slow
def test_killed_on_the_way_and_run_again(
    make_store: MakeStore, model: str, diary: Diary, tmp_path: Path
) -> None:
    """SIGKILL in the middle of the second generation: the first stays, of the second there is nothing to see."""
    store, out = make_store("a", "slow"), tmp_path / "out"
    settings = {"steps": 20}
    process = subprocess.Popen([sys.executable, "-c", another_process(store, model, out, settings)])
    while len(generated(diary)) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    process.kill()
    process.wait()
    seen = [path.name for path in out.iterdir() if not path.name.startswith(".")]
    assert len(seen) == 2 and all(name.startswith("a--noise-s0-") for name in seen)
    summary = job(store, model, out, settings=settings, clips=["a"], seeds=[0, 1])
    assert states(summary) == {"a 0": "already", "a 1": "made"}


def test_leftovers_of_a_killed_run_go_when_they_are_a_day_old(
    make_store: MakeStore, model: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    old, young, foreign = (
        out / name
        for name in (
            ".0123abcd-a--noise-s1-89abcdef.mp4",
            ".0123abce-a--noise-s1-89abcdef.json",
            ".notes.mp4",
        )
    )
    speech = out / ".0123abcf-speech-89abcdef.wav"
    for path in (old, young, foreign, speech):
        path.write_bytes(b"half")
    for path in (old, foreign, speech):
        os.utime(path, (time.time() - 48 * 3600,) * 2)
    job(make_store("a"), model, out)
    assert [path.exists() for path in (old, young, foreign, speech)] == [False, True, True, False]


@pytest.mark.slow
def test_two_processes_with_the_same_request_do_no_harm(
    make_store: MakeStore, model: str, tmp_path: Path
) -> None:
    store, out = make_store("slow"), tmp_path / "out"
    code = another_process(store, model, out, {})
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert states(job(store, model, out)) == {"slow 0": "already"}
    assert len(list(out.iterdir())) == 2

"""Generation over Ray actors: the same outcomes as in one process, and what dying workers cost. One Ray for all."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import ray

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import wanprep
from wanprep.errors import UsageError, WanprepError
from wanprep_infer.generate import generate
from wanprep_infer.generators import registry
from wanprep_infer.jobs.summary import GenerationSummary
from wanprep_infer.load_options import Options
from wanprep_infer.progress import reporter

pytestmark = pytest.mark.slow

PROMPTS = ("a", "b", "misfit", "once", "raise", "segfault")


@pytest.fixture(scope="module", autouse=True)
def own_ray(plugins: None) -> Iterator[None]:
    registry._entries.cache_clear()
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100 << 20,
        log_to_driver=False,
        logging_level="ERROR",
    )
    yield
    ray.shutdown()
    registry._entries.cache_clear()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("store")
    (folder / "clips.csv").write_text(
        "prompt,id\n" + "".join(f"{name},{name}\n" for name in (*PROMPTS, "broken", "hang"))
    )
    recipe = {"stages": {"text": {"backend": "hashed-ngram"}}}
    wanprep.run(folder / "clips.csv", store=folder / "store", recipe=recipe, engine="inline")
    return str(folder / "store")


def job(store: str, folder: Path, out: str, **more: Any) -> GenerationSummary:
    model = folder / "model"
    if not model.exists():
        model.write_text(f"noise {folder / 'diary'}")
    chosen: dict[str, Any] = {"engine_name": "ray", "workers": 2, **more}
    return generate("test_noise", store=store, model=str(model), out=folder / out, **chosen)


def videos(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.mp4")}


def frames(path: Path) -> npt.NDArray[np.float32]:
    with av.open(str(path)) as container:
        return np.array([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)], np.float32)


def test_two_workers_make_what_one_process_makes_and_every_death_is_named(store: str, tmp_path: Path) -> None:
    stream = io.StringIO()
    summary = job(store, tmp_path, "ray", clips=PROMPTS, seeds=[1], progress=reporter(stream))
    found = {(item.clip_id, item.seed): item for item in summary.outcomes}
    assert len(found) == len(summary.outcomes) == len(PROMPTS)
    why = {clip: found[clip, 1].why for clip in PROMPTS}
    assert {clip: found[clip, 1].state for clip in PROMPTS} == {
        clip: "made" if clip in ("a", "b", "once") else "skipped" if clip == "misfit" else "failed"
        for clip in PROMPTS
    }
    assert "crashed its worker twice" in str(why["segfault"])
    assert why["raise"] == "ValueError: no good"
    assert why["misfit"] == "is for another model: run again with that"
    diary = (tmp_path / "diary").read_text().splitlines()
    loads = [line for line in diary if line.startswith("load")]
    assert len(set(loads)) == len(loads), "each worker loads once"
    begun = [line.removeprefix("generate ") for line in diary if line.startswith("generate")]
    assert begun.count("segfault 1") == 2 and begun.count("once 1") == 2, "a death costs one more attempt"
    assert begun.count("a 1") == 1
    lines = stream.getvalue().splitlines()
    assert any(line.startswith("a--noise-s1-") and ": 8 frames, " in line for line in lines)

    inline = job(store, tmp_path, "inline", seeds=[1], clips=["a", "b"], engine_name="inline", workers=None)
    assert {item.key for item in inline.made} <= {item.key for item in summary.made}
    ours, theirs = videos(tmp_path / "inline"), videos(tmp_path / "ray")
    assert len(ours) == 2 and all(theirs[name] == content for name, content in ours.items())

    again = job(store, tmp_path, "ray", seeds=[1], clips=["a", "b", "once"])
    assert {item.state for item in again.outcomes} == {"already"} and len(again.outcomes) == 3


def test_a_step_that_takes_too_long_ends_its_worker_and_is_not_tried_again(
    store: str, tmp_path: Path
) -> None:
    (hung,) = job(store, tmp_path, "out", clips=["hang"], workers=1, seconds_per_step=2.0).outcomes
    assert hung.state == "failed"
    assert hung.why == "a step took longer than 2 s, so its worker was ended"
    assert not list((tmp_path / "out").glob("hang*"))


def test_after_a_gpu_is_lost_another_worker_goes_on(store: str, tmp_path: Path) -> None:
    """Named after the bug: a worker whose GPU was lost went on, and failed all that was left."""
    summary = job(store, tmp_path, "out", clips=["broken", "a", "b"], workers=1)
    assert {item.clip_id: item.state for item in summary.outcomes} == {
        "broken": "failed",
        "a": "made",
        "b": "made",
    }
    diary = (tmp_path / "diary").read_text().splitlines()
    assert len({line for line in diary if line.startswith("load")}) == 2


def test_a_worker_that_ray_ends_for_want_of_memory_costs_its_generation_an_attempt(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named after the bug: the whole job ended with it. Model paths are relative here: workers run elsewhere."""
    get, ended = ray.get, []

    def short(asked: Any, **more: Any) -> Any:
        found = get(asked, **more)
        if isinstance(found, dict) and "outcome" in found and found["outcome"]["clip_id"] not in ended:
            ended.append(found["outcome"]["clip_id"])
            raise ray.exceptions.OutOfMemoryError("Memory on the node was 95% full.\nIt was killed.")
        return found

    monkeypatch.setattr(ray, "get", short)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").write_text(f"noise {tmp_path / 'diary'}")
    chosen: dict[str, Any] = {"store": store, "model": "model", "engine_name": "ray", "workers": 1}
    (made,) = generate("test_noise", out="out", clips="a", force=True, **chosen).outcomes
    assert made.state == "made" and ended == ["a"]
    assert Path(made.file or "").parent == tmp_path / "out"


def test_a_worker_that_finds_no_room_leaves_the_job_to_the_others(store: str, tmp_path: Path) -> None:
    """Named after the bug: the job ended when one of its machines could not load the model."""
    (tmp_path / "model").write_text(f"crowded {tmp_path / 'diary'}")
    summary = job(store, tmp_path, "out", clips=["a", "b"], seeds=[1, 2])
    assert [item.state for item in summary.outcomes] == ["made"] * 4


def test_two_workers_with_a_real_model_make_what_one_process_makes(tmp_path: Path) -> None:
    from helpers import s2v_store
    from helpers.s2v_conditioning import latents_record

    from wanprep.models.tiny_components import AUDIO_WIDTH, TEXT_WIDTH
    from wanprep_infer.models.folder import find_generator
    from wanprep_infer.tiny.s2v import write_s2v_14b

    model = tmp_path / "tiny"
    model.mkdir()
    write_s2v_14b(model, 0)
    rng = np.random.default_rng(1)

    def noise(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32)

    vae = find_generator(str(model), "s2v").digests()["vae"]
    records = {
        "audio": s2v_store.audio(0.4, noise(12, 25, AUDIO_WIDTH)),
        "text": s2v_store.text(channels=TEXT_WIDTH, states_LC=noise(3, TEXT_WIDTH)),
        "reference_latents": latents_record(noise(16, 1, 8, 8), vae_digest=vae),
    }
    s2v_store.make_clip(tmp_path / "clip", records, seconds=1.0)
    chosen: dict[str, Any] = {
        "store": str(tmp_path / "clip" / "store"),
        "model": model,
        "seeds": [1, 2],
        "settings": {"steps": 1, "guidance": 1.0, "frames_per_clip": 8},
    }
    spread = generate("s2v", out=tmp_path / "ray", engine_name="ray", workers=2, **chosen)
    assert [item.state for item in spread.outcomes] == ["made", "made"], spread.outcomes
    alone = generate("s2v", out=tmp_path / "inline", engine_name="inline", **chosen)
    assert {item.key for item in alone.made} == {item.key for item in spread.made}
    for name, frames_THWC in ((path.name, frames(path)) for path in (tmp_path / "inline").glob("*.mp4")):
        # Sums of floats in another order, with another number of threads.
        assert np.abs(frames_THWC - frames(tmp_path / "ray" / name)).mean() < 1


def test_what_ends_a_job_is_one_line(store: str, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("doomed")
    with pytest.raises(WanprepError, match=r"workers died \d times while they loaded"):
        job(store, tmp_path, "out", clips=["a", "b"])
    (tmp_path / "model").write_text("noise")
    with pytest.raises(UsageError, match="no machine of this Ray has a GPU"):
        job(store, tmp_path, "out", clips=["a"], options=Options(device="cuda"))
    assert ray.is_initialized(), "the caller's Ray stays"

"""A clip that eats memory: its worker is held, it is named, everything else is done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from memory_groups import memory_group
from small_jobs import Ears, causes, prepare, texts

from ray_jobs.preprocess import run
from wanprep.engine.job import Job

pytestmark = pytest.mark.chaos

_ROOM = 192 << 20  # bytes that the worker of a clip may take
_GROUP = 640 << 20  # bytes of all workers together: a Ray worker takes 150 to 250 MB before any clip
#: A clip costs at most two workers, and a worker starts within ten seconds on a busy machine: with two such clips and
#: the first start the job ends by itself within this, where it takes about ten seconds on a quiet one.
_BOUND_SECONDS = 90.0
_GOOD = [f"clip {number}" for number in range(6)]


@pytest.fixture(scope="module", autouse=True)
def own_ray(plugins: None) -> Iterator[Any]:
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100 << 20,
        log_to_driver=False,
        logging_level="ERROR",
    )
    yield
    ray.shutdown()


def _run(folder: Path, poison: list[str], **config: Any) -> Job:
    prompts = [*_GOOD[:3], *poison, *_GOOD[3:]]
    job, tasks = prepare(folder, prompts, {"test_hungry": config})
    ears = Ears()
    started = time.monotonic()
    run(job, tasks, ears)
    assert time.monotonic() - started < _BOUND_SECONDS
    assert texts(job, "test_hungry") == [prompt.upper() for prompt in _GOOD]
    assert ears.total("done", "test_hungry") == len(_GOOD)
    assert ears.total("failed", "test_hungry") == len(poison)
    return job


def test_a_limit_of_the_process_turns_it_into_a_cause(tmp_path: Path) -> None:
    """`ulimit -d`, say. What fails is the clip; with nothing left at all the worker may go, and comes back."""
    job = _run(tmp_path, ["hungry", "ravenous"], room=_ROOM, diary=str(tmp_path / "diary"))
    found = causes(job)
    assert set(found) == {("hungry", "test_hungry"), ("ravenous", "test_hungry")}
    assert found["hungry", "test_hungry"] == "out of memory"
    assert (
        "out of memory" in found["ravenous", "test_hungry"] or "no memory" in found["ravenous", "test_hungry"]
    )
    begun = [line.split(" ", 1)[1] for line in (tmp_path / "diary").read_text().splitlines()]
    assert begun.count("hungry") == 1 and begun.count("ravenous") <= 2


def test_a_worker_that_the_kernel_kills_for_memory_names_its_clip(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    with memory_group(_GROUP) as group:
        job = _run(tmp_path, ["hungry"], group=str(group), diary=str(diary))
    assert set(found := causes(job)) == {("hungry", "test_hungry")}
    assert "crashed the worker twice" in found["hungry", "test_hungry"]
    assert "no memory was left" in found["hungry", "test_hungry"]
    begun = [line.split(" ", 1) for line in diary.read_text().splitlines()]
    assert [prompt for _, prompt in begun].count("hungry") == 2
    assert len({pid for pid, prompt in begun if prompt == "hungry"}) == 2, "in two processes"

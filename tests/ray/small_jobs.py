"""Small jobs over clips that are only prompts, and what they left in the store."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wanprep.clip import make_clips
from wanprep.engine.job import Job, Task, TaskResult, make_job
from wanprep.engine.tasks import make_tasks
from wanprep.inputs import read_inputs
from wanprep.plan import make_plan
from wanprep.recipe import load_recipe
from wanprep.store.store import Store


class Ears:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.results: list[TaskResult] = []
        self.counted = 0
        self.threads: set[str] = set()

    def task(self, result: TaskResult) -> None:
        self.results.append(result)
        self.threads.add(threading.current_thread().name)

    def frames(self, count: int) -> None:
        self.counted += count

    def total(self, what: str, stage: str = "test_moody") -> int:
        return sum(getattr(result, what).get(stage, 0) for result in self.results)


def prepare(
    folder: Path,
    prompts: Iterable[str],
    stages: Mapping[str, Any],
    *,
    workers: int = 2,
    **settings: Any,
) -> tuple[Job, list[Task]]:
    """A store in `folder` and what there is to do in it; one clip a prompt."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "clips.csv"
    manifest.write_text("prompt,id\n" + "".join(f"{text},{text.replace(' ', '-')}\n" for text in prompts))
    recipe = load_recipe({"stages": dict(stages)})
    store = Store.create(str(folder / "store"), run="test")
    clips = list(make_clips(read_inputs([str(manifest)]).clips, {}, recipe.timeline, recipe.digest))
    plan = make_plan(recipe, clips, store)
    metadata = {name: {} for name in stages}
    job = make_job(
        recipe, store=store.files.root, run="test", workers=workers, address=None, metadata=metadata
    )
    return dataclasses.replace(job, **settings), make_tasks(plan, {}, store, workers)


def rows(store: str | Path, stage: str = "test_moody") -> list[dict[str, Any]]:
    """Every artifact row of a stage in every file, so that one made twice shows twice."""
    files = Store.open(str(store)).files
    names = files.names(f"artifacts/{stage}", ".parquet")
    return [row for name in names for row in files.read_table(name).to_pylist()]


def texts(job: Job, stage: str = "test_moody") -> list[str]:
    return sorted(row["text"] for row in rows(job.store, stage))


def causes(job: Job) -> dict[tuple[str, str], str]:
    """(clip, stage) -> cause of all that failed."""
    failed = [outcome for outcome in Store.open(job.store).outcomes() if outcome.outcome == "failed"]
    return {(outcome.clip_id, outcome.stage): outcome.cause or "" for outcome in failed}

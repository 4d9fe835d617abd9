"""What an engine is given and what it gives back, as plain data that can cross a process boundary.

An engine is a function `run(job, tasks, listener)`, found by the entry point group `wanprep.engines`. It calls
`listener.task(result)` for each task that is committed and `listener.frames(n)` as frames go by, and raises
`WanprepError` when the job as a whole cannot go on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from schemas import ClipRecord, MediaRecord, OutcomeRecord
from wanprep import graph
from wanprep.recipe import Recipe
from wanprep.registry import stage_class
from wanprep.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run: where it writes, what its stages are, and how it is spread."""

    store: str
    run: str
    stages: dict[str, dict[str, Any]]  # stage name -> its full config, in running order
    groups: list[list[str]]  # operators: names of stages that share a worker
    metadata: dict[str, dict[str, str]]  # stage name -> what its Parquet files say of themselves
    workers: int
    address: str | None = None
    seconds_per_frame: float = 2.0  # a clip may take this long a frame before it counts as stuck
    seconds_per_clip: float = 120.0  # on top of it

    def time_limit(self, clip: ClipRecord) -> float:
        """Seconds after which a clip counts as stuck."""
        return self.seconds_per_clip + self.seconds_per_frame * max(clip.frames, 1)

    def build(self, names: Sequence[str]) -> list[Stage[Any]]:
        """The configured stages of one operator."""
        built = []
        for name in names:
            stage = stage_class(name)
            built.append(stage(stage.Config.model_validate(self.stages[name])))
        return built


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """An upstream artifact that was settled before the run: done (`file` holds it) or skipped (no file)."""

    key: str
    file: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipTask:
    """What is to do for one clip."""

    clip: ClipRecord
    media: dict[str, MediaRecord]
    to_do: tuple[str, ...]
    inputs: dict[str, Input]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A batch of clips that becomes one shard a stage."""

    number: int
    clips: tuple[ClipTask, ...]

    def to_document(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "clips": [
                {
                    "clip": item.clip.to_row(),
                    "media": {role: media.to_row() for role, media in item.media.items()},
                    "to_do": list(item.to_do),
                    "inputs": {name: dataclasses.asdict(given) for name, given in item.inputs.items()},
                }
                for item in self.clips
            ],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Task:
        return cls(
            number=document["number"],
            clips=tuple(
                ClipTask(
                    clip=ClipRecord.from_row(item["clip"]),
                    media={role: MediaRecord.from_row(row) for role, row in item["media"].items()},
                    to_do=tuple(item["to_do"]),
                    inputs={name: Input(**given) for name, given in item["inputs"].items()},
                )
                for item in document["clips"]
            ),
        )


_ROWS = ("failures", "skips")  # fields of a result that hold outcomes


@dataclass(kw_only=True)
class TaskResult:
    """What became of one operator's part of a task. Counts are by stage name, times by span name."""

    number: int
    clips: int = 0
    done: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    frames: dict[str, int] = field(default_factory=dict)  # frames of the clips that are done
    nbytes: dict[str, int] = field(default_factory=dict)
    wall: dict[str, float] = field(default_factory=dict)  # seconds
    cpu: dict[str, float] = field(default_factory=dict)  # seconds of the working thread
    peak_bytes: int = 0  # most memory the worker ever held
    failures: list[OutcomeRecord] = field(default_factory=list)
    skips: list[OutcomeRecord] = field(default_factory=list)
    # Of what is done: clip, stage, and a sentence for people, from records with a column `warnings`.
    warnings: list[tuple[str, str, str]] = field(default_factory=list)
    started_ns: int = 0  # wall clock of the worker
    ended_ns: int = 0

    def to_document(self) -> dict[str, Any]:
        document = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**document, **{name: [row.to_row() for row in document[name]] for name in _ROWS}}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> TaskResult:
        rows = {name: [OutcomeRecord.from_row(row) for row in document[name]] for name in _ROWS}
        warnings = [(clip, stage, text) for clip, stage, text in document.get("warnings", ())]
        return cls(**{**document, **rows, "warnings": warnings})


class Listener(Protocol):
    """Hears from an engine in the process that called it."""

    def task(self, result: TaskResult) -> None: ...

    def frames(self, count: int) -> None: ...


class Guard(Protocol):
    """Watches over an operator's clips; see the engines for what it does."""

    def start(self, clip: ClipRecord) -> str | None:
        """Told before a clip is begun; a text refuses it and becomes the cause of its failure."""

    def frames(self, count: int) -> None: ...

    def end(self, clip: ClipRecord) -> None: ...


def make_job(
    recipe: Recipe,
    *,
    store: str,
    run: str,
    workers: int,
    address: str | None,
    metadata: dict[str, dict[str, str]],
) -> Job:
    return Job(
        store=store,
        run=run,
        stages={stage.name: stage.config.model_dump(mode="json") for stage in recipe.stages},
        groups=[[stage.name for stage in group] for group in graph.operators(recipe.stages)],
        metadata=metadata,
        workers=workers,
        address=address,
    )

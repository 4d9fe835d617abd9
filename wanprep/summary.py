"""What a run did: counts, rates, failures. Written to `runs/<id>.json` and shown at the end."""

from __future__ import annotations

import time
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from wanprep.engine.job import TaskResult

MAX_FAILURES = 100  # kept in the summary, and as many warnings; all are in the tables
LAST_FAILURES = 5  # the newest of them, for someone who watches the run


class StageSummary(BaseModel):
    """One stage over the clips of a run. Clips are counted once, however they ended."""

    to_do: int = 0  # planned for this run
    already_done: int = 0
    already_skipped: int = 0
    already_failed: int = 0
    blocked: int = 0
    done: int = 0
    skipped: int = 0
    failed: int = 0
    frames: int = 0  # of the clips done in this run
    seconds: float = 0.0  # wall time inside the stage, over all workers
    cpu_seconds: float = 0.0  # of the stage's own thread
    nbytes: int = 0  # committed

    @property
    def frames_per_second(self) -> float | None:
        """Frames a second of stage time on one worker; None when nothing was measured."""
        return self.frames / self.seconds if self.frames and self.seconds else None


class Failure(BaseModel):
    clip_id: str
    stage: str
    cause: str


class Warned(BaseModel):
    """Something to look at in what is done all the same."""

    clip_id: str
    stage: str
    warning: str


class RunSummary(BaseModel):
    """The whole run."""

    model_config = ConfigDict(validate_assignment=False)

    run: str
    store: str
    engine: str
    workers: int
    host: str = ""
    pid: int = 0
    state: Literal["running", "finished", "stopped", "error"] = "running"
    started_ns: int = 0
    begun_ns: int = 0  # the engine began: inputs were looked at, the plan was made
    updated_ns: int = 0  # this was written; a run that goes on writes it again and again
    seconds: float = 0.0
    clips: int = 0
    clips_unusable: int = 0  # nothing can be made of them: failed
    clips_too_short: int = 0  # fewer frames than timeline.min_frames: skipped
    clips_to_do: int = 0
    passes_total: int = 0  # clips, times the operators that look at each
    passes_ended: int = 0
    frames_total: int = 0  # of these clips, times the decodes of each
    frames_read: int = 0
    inputs_ignored: int = 0
    inputs_repeated: int = 0
    stages: dict[str, StageSummary] = Field(default_factory=dict)
    shared_seconds: dict[str, float] = Field(default_factory=dict)  # decoding, shared estimators, writing
    worker_peak_bytes: int = 0
    failures: list[Failure] = Field(default_factory=list)
    warnings: list[Warned] = Field(default_factory=list)  # the first, of what this run has done
    warnings_total: int = 0
    last_failures: list[Failure] = Field(default_factory=list)

    @property
    def failed(self) -> int:
        """Failures, earlier ones and unusable clips included: what `--strict` refuses."""
        return self.clips_unusable + sum(
            stage.failed + stage.already_failed + stage.blocked for stage in self.stages.values()
        )

    @property
    def nothing_to_do(self) -> bool:
        return self.clips_to_do == 0

    @property
    def rate(self) -> float:
        """Frames a second since the engine began, over all workers."""
        return self.frames_read * 1e9 / max(self.updated_ns - self.begun_ns, 1)

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far; None while nothing can be said."""
        done, total = (
            (self.frames_read, self.frames_total)
            if self.frames_total
            else (self.passes_ended, self.passes_total)
        )
        return (self.updated_ns - self.begun_ns) / 1e9 * max(total - done, 0) / done if done else None

    def begin(self, passes: int, frames: int) -> None:
        """The engine begins: what is before it."""
        self.passes_total, self.frames_total = passes, frames
        self.begun_ns = time.time_ns()

    def touch(self) -> None:
        """Brings the times up to now, while the run goes on."""
        if self.state == "running":
            self.updated_ns = time.time_ns()
            self.seconds = (self.updated_ns - self.started_ns) / 1e9

    def add(self, result: TaskResult) -> None:
        """Takes in what became of a task."""
        self.passes_ended += result.clips
        for name, stage in self.stages.items():
            stage.done += result.done.get(name, 0)
            stage.skipped += result.skipped.get(name, 0)
            stage.failed += result.failed.get(name, 0)
            stage.frames += result.frames.get(name, 0)
            stage.nbytes += result.nbytes.get(name, 0)
            stage.seconds += result.wall.get(name, 0.0)
            stage.cpu_seconds += result.cpu.get(name, 0.0)
        for name, seconds in result.wall.items():
            if name not in self.stages:
                self.shared_seconds[name] = self.shared_seconds.get(name, 0.0) + seconds
        self.worker_peak_bytes = max(self.worker_peak_bytes, result.peak_bytes)
        self.warnings_total += len(result.warnings)
        for clip, stage_name, text in result.warnings[: max(0, MAX_FAILURES - len(self.warnings))]:
            self.warnings.append(Warned(clip_id=clip, stage=stage_name, warning=text))
        for row in result.failures:
            self.add_failure(row.clip_id, row.stage, row.cause or "unknown")

    def add_failure(self, clip_id: str, stage: str, cause: str) -> None:
        failure = Failure(clip_id=clip_id, stage=stage, cause=cause)
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(failure)
        self.last_failures = [*self.last_failures[1 - LAST_FAILURES :], failure]

    def to_json(self) -> dict[str, Any]:
        document = self.model_dump(mode="json")
        for name, stage in self.stages.items():
            document["stages"][name]["frames_per_second"] = stage.frames_per_second
        return {**document, "failed": self.failed}

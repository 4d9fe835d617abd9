"""An operator: stages that run together on a batch of clips, in whatever process an engine puts it."""

from __future__ import annotations

import errno
import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from schemas import ClipRecord, OutcomeRecord, Record
from wanprep import graph, registry
from wanprep.engine.job import ClipTask, Guard, Job, Task, TaskResult
from wanprep.engine.memory import frame_budget
from wanprep.engine.planned import check_models
from wanprep.engine.steps import Finished, StepRunner
from wanprep.errors import StoreError
from wanprep.models.resolve import fetching
from wanprep.stage import ClipContext, Skipped
from wanprep.store import layout
from wanprep.store.meanwhile import Meanwhile
from wanprep.store.shard import ShardWriter
from wanprep.store.store import Store
from wanprep.timing import Timings

# Trouble of the machine, not of the clip: the job stops and can be resumed.
_FATAL_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE})


class Operator:
    """Holds its stages, set up once, and makes tasks out of them."""

    def __init__(self, job: Job, names: Iterable[str], number: int) -> None:
        self._job = job
        self._number = number
        self._stages = job.build(list(names))
        self._steps = graph.passes(self._stages)
        self._frame_bytes = frame_budget(self._stages, job.workers)
        self._store = Store.open(job.store, run=job.run)
        self._meanwhile = {stage.name: Meanwhile(self._store.files, stage.name) for stage in self._stages}
        self._broken: dict[str, Exception] = {}
        self._ends: dict[str, OutcomeRecord] | None = None  # of keys that are not done, as the store tells
        self._newest_ns: int | None = None  # of the outcomes that were there before
        self._ready = False

    def set_up(self) -> None:
        """Loads models. A stage that cannot be set up fails its clips, not the others."""
        if self._ready:
            return
        for stage in self._stages:
            try:
                with fetching():
                    stage.setup()
                check_models(stage, self._job.metadata.get(stage.name, {}))
            except Exception as error:
                self._broken[stage.name] = error
        self._ready = True

    def process(
        self, task: Task, guard: Guard, files: Mapping[str, str] | None = None
    ) -> tuple[TaskResult, dict[str, str]]:
        """Runs the task's clips through the stages and commits one shard a stage.

        Args:
            files: key -> Parquet file of what earlier operators of this task have committed.

        Returns:
            The result, and key -> Parquet file of what this operator committed.

        Raises:
            StoreError: the store cannot be written; nothing of this task is visible then.
        """
        self.set_up()
        self._ends = None
        result = TaskResult(number=task.number, started_ns=time.time_ns())
        timings = Timings()
        outcomes: list[OutcomeRecord] = []
        with ExitStack() as stack:
            writers = self._writers(task, stack)
            order = [(item.clip, item.to_do) for item in task.clips]
            for number, item in enumerate(task.clips, start=1):
                to_do = [stage for stage in self._stages if stage.name in item.to_do]
                if not to_do:
                    continue
                refusal = guard.start(item.clip)
                if refusal is not None:
                    finished = [Finished.failure(stage.name, refusal) for stage in to_do]
                    self._record(item, finished, result, outcomes)
                else:
                    later = order[number:]
                    self._run_clip(item, later, guard, files or {}, timings, writers, result, outcomes)
                guard.end(item.clip)
                result.clips += 1
            committed = self._commit(writers, result)
        self._write_outcomes(task, outcomes)
        result.wall, result.cpu = timings.wall, timings.cpu
        result.peak_bytes = _peak_bytes()
        result.ended_ns = time.time_ns()
        return result, committed

    def _writers(self, task: Task, stack: ExitStack) -> dict[str, ShardWriter]:
        writers: dict[str, ShardWriter] = {}
        for stage in self._stages:
            keys = [item.clip.keys[stage.name] for item in task.clips if stage.name in item.to_do]
            if keys:
                writers[stage.name] = stack.enter_context(
                    ShardWriter(
                        self._store.files,
                        stage.name,
                        layout.shard_name(keys),
                        stage.record,
                        rows=len(keys),
                        metadata=self._job.metadata.get(stage.name, {}),
                    )
                )
        return writers

    def _run_clip(
        self,
        item: ClipTask,
        later: Sequence[tuple[ClipRecord, tuple[str, ...]]],
        guard: Guard,
        files: Mapping[str, str],
        timings: Timings,
        writers: Mapping[str, ShardWriter],
        result: TaskResult,
        outcomes: list[OutcomeRecord],
    ) -> None:
        with tempfile.TemporaryDirectory(prefix="wanprep-") as scratch:
            context = ClipContext(item.clip, item.media, Path(scratch), timings, later)
            try:
                runner = StepRunner(
                    item, context, self._broken, guard.frames, _raise_fatal, self._frame_bytes
                )
                runner.give(self._inputs(item, files, writers, outcomes))
                for step in self._steps:
                    runner.run([stage for stage in step if stage.name in item.to_do])
                with timings.span("write"):
                    finished = [_written(done, item.clip, writers) for done in runner.finished]
                self._record(item, finished, result, outcomes)
            finally:
                context.close()

    def _inputs(
        self,
        item: ClipTask,
        files: Mapping[str, str],
        writers: Mapping[str, ShardWriter],
        outcomes: Iterable[OutcomeRecord],
    ) -> dict[str, Record | Skipped | None]:
        """Artifacts made before: by an earlier run, by an earlier operator of this one, or here for an earlier
        clip of the task. None: failed."""
        own = {stage.name for stage in self._stages if stage.name in item.to_do}
        wanted: set[str] = set()
        for stage in self._stages:
            if stage.name in item.to_do:
                wanted |= {*stage.needs, *stage.uses} - own
        given: dict[str, Record | Skipped | None] = {}
        for name in sorted(wanted & (item.inputs.keys() | self._job.stages.keys())):
            key = item.clip.keys[name]
            settled = item.inputs[name].file if name in item.inputs else None
            found: Any = None
            if file := settled or files.get(key):
                found = self._store.artifact(name, key, file, registry.stage_class(name).record)
            elif name in writers:
                found = writers[name].read(key)
            given[name] = found if found is not None else self._end(key, outcomes)
        return given

    def _end(self, key: str, outcomes: Iterable[OutcomeRecord]) -> Skipped | None:
        """Why there is no artifact of a key: what this task says of it, or else the store."""
        row = next((row for row in outcomes if row.key == key), None)
        if row is None:
            if self._ends is None:
                self._ends = {}
                for end in self._store.outcomes():
                    self._ends.setdefault(end.key, end)
            row = self._ends.get(key)
        return Skipped(row.reason or "skipped", row.value) if row and row.outcome == "skipped" else None

    def _now_ns(self) -> int:
        """Readers take the newest outcome of a key, and the clock may have been put back since the last one."""
        if self._newest_ns is None:
            self._newest_ns = max((row.created_ns for row in self._store.outcomes()), default=0)
        return max(time.time_ns(), self._newest_ns + 1)

    def _record(
        self, item: ClipTask, finished: Iterable[Finished], result: TaskResult, outcomes: list[OutcomeRecord]
    ) -> None:
        for done in finished:
            if done.record is not None:
                result.done[done.stage] = result.done.get(done.stage, 0) + 1
                result.frames[done.stage] = result.frames.get(done.stage, 0) + item.clip.frames
                warnings = getattr(done.record, "warnings", None)
                if not isinstance(warnings, list):
                    warnings = ()  # none, or another stage's idea of such a column
                result.warnings += [(item.clip.clip_id, done.stage, text) for text in warnings]
                continue
            row = done.outcome(item.clip, self._job.run, self._now_ns())
            outcomes.append(row)
            counts = result.skipped if row.outcome == "skipped" else result.failed
            counts[done.stage] = counts.get(done.stage, 0) + 1
            (result.skips if row.outcome == "skipped" else result.failures).append(row)

    def _commit(self, writers: Mapping[str, ShardWriter], result: TaskResult) -> dict[str, str]:
        committed: dict[str, str] = {}
        for name, writer in writers.items():
            elsewhere = self._meanwhile[name].find(writer.keys)
            committed.update(elsewhere)
            file = writer.commit(without=elsewhere.keys())
            if file is not None:
                result.nbytes[name] = writer.nbytes
                committed.update(dict.fromkeys(writer.keys, file))
        return committed

    def _write_outcomes(self, task: Task, outcomes: list[OutcomeRecord]) -> None:
        if outcomes:
            identity = [self._job.run, str(task.number), str(self._number)]
            self._store.write_rows(layout.OUTCOMES, OutcomeRecord, outcomes, identity)


def _written(done: Finished, clip: ClipRecord, writers: Mapping[str, ShardWriter]) -> Finished:
    """Adds a record to its shard; one that does not fit its schema is a failure of its stage."""
    if done.record is None:
        return done
    try:
        writers[done.stage].add(clip.keys[done.stage], clip.clip_id, done.record)
    except TypeError as error:
        return Finished.failure(done.stage, str(error))
    return done


def _raise_fatal(error: BaseException) -> None:
    """Raises when an exception is the machine's trouble and not the clip's."""
    if isinstance(error, StoreError):
        raise error
    if isinstance(error, OSError) and error.errno in _FATAL_ERRORS:
        raise StoreError(f"scratch space in {tempfile.gettempdir()}: {error.strerror}") from error


def _peak_bytes() -> int:
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    # Of a process that a large one started, this is the large one's: a child is a copy of it for a moment.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

"""Runs one clip through an operator's steps and keeps what each stage made of it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas import ClipRecord, OutcomeRecord, Record
from wanprep.engine.job import ClipTask
from wanprep.errors import WanprepError
from wanprep.media.video import read_windows
from wanprep.stage import ClipContext, Fold, FrameStage, Skipped, Stage

_TRACEBACK_CHARS = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A stage's end for one clip: a record, or why there is none."""

    stage: str
    record: Record | None = None
    skipped: Skipped | None = None
    cause: str | None = None
    traceback: str | None = None
    blocked_by: str | None = None

    @classmethod
    def failure(cls, stage: str, cause: str) -> Finished:
        return cls(stage=stage, cause=cause)

    def outcome(self, clip: ClipRecord, run: str, created_ns: int) -> OutcomeRecord:
        """The row for the outcomes table; only for what is not done."""
        return OutcomeRecord(
            key=clip.keys[self.stage],
            stage=self.stage,
            clip_id=clip.clip_id,
            outcome="skipped" if self.skipped else "failed",
            reason=self.skipped.reason if self.skipped else None,
            value=self.skipped.value if self.skipped else None,
            cause=self.cause,
            traceback=self.traceback,
            blocked_by=self.blocked_by,
            run=run,
            created_ns=created_ns,
        )


class StepRunner:
    """The only place where an exception of a stage becomes an outcome.

    `raise_fatal` lets through what is no fault of the clip; `frame_bytes` of decoded pictures may be held at a time.
    """

    def __init__(
        self,
        item: ClipTask,
        context: ClipContext,
        broken: Mapping[str, Exception],
        on_frames: Callable[[int], None],
        raise_fatal: Callable[[BaseException], None],
        frame_bytes: int,
    ) -> None:
        self._item = item
        self._context = context
        self._broken = broken
        self._on_frames = on_frames
        self._raise_fatal = raise_fatal
        self._frame_bytes = frame_bytes
        self._results: dict[str, Record | Skipped | None] = {}  # None: failed
        self.finished: list[Finished] = []

    def give(self, inputs: Mapping[str, Record | Skipped | None]) -> None:
        """Adds what became of stages before; None: failed."""
        self._results.update(inputs)

    def run(self, step: Sequence[Stage[Any]]) -> None:
        """One step: a stage without frames, or frame stages over one decode."""
        ready = [stage for stage in step if self._may_start(stage)]
        frame_stages = [stage for stage in ready if isinstance(stage, FrameStage)]
        for stage in ready:
            if not isinstance(stage, FrameStage):
                self._attempt(stage, lambda stage=stage: stage.run(self._context, self._inputs(stage)))  # type: ignore[misc]
        if frame_stages:
            self._run_frames(frame_stages)

    def _may_start(self, stage: Stage[Any]) -> bool:
        if stage.name in self._broken:
            error = self._broken[stage.name]
            self._fail(stage.name, error, prefix="cannot be set up: ")
            return False
        spared = stage.spares(self._item.clip)
        for name in (*stage.needs, *stage.uses):
            if name in self._results and self._results[name] is None and name not in spared:
                self._finish(
                    Finished(
                        stage=stage.name, cause=f"needs {name}, which failed for this clip", blocked_by=name
                    )
                )
                return False
        for name in stage.needs:
            found = self._results.get(name)
            if isinstance(found, Skipped):
                self._finish(
                    Finished(stage=stage.name, skipped=Skipped(f"{name}: {found.reason}", found.value))
                )
                return False
        return True

    def _inputs(self, stage: Stage[Any]) -> dict[str, Record]:
        found = {name: self._results.get(name) for name in (*stage.needs, *stage.uses)}
        return {name: record for name, record in found.items() if isinstance(record, Record)}

    def _run_frames(self, stages: Sequence[FrameStage[Any]]) -> None:
        video = self._context.media.get("video")
        if video is None:
            for stage in stages:
                self._finish(Finished(stage=stage.name, skipped=Skipped("the clip has no video", 0.0)))
            return
        folds: dict[str, tuple[FrameStage[Any], Fold]] = {}
        for stage in stages:
            try:
                with self._context.timings.span(stage.name):
                    folds[stage.name] = (stage, stage.begin(self._context, self._inputs(stage)))
            except Exception as error:
                self._fail(stage.name, error)
        try:
            for window in read_windows(
                self._item.clip, video, timings=self._context.timings, budget=self._frame_bytes
            ):
                for name in list(folds):
                    try:
                        with self._context.timings.span(name):
                            folds[name][1].add(window)
                    except Exception as error:
                        # In this order: what is fatal must find its stage there, below, and end the task.
                        self._fail(name, error)
                        del folds[name]
                self._on_frames(len(window))
                if not folds:
                    return
        except Exception as error:
            # The video itself is at fault: no stage that was reading it can be done.
            for name in folds:
                self._fail(name, error)
            return
        for stage, fold in folds.values():
            # Another stage of this step may have failed meanwhile.
            if self._may_start(stage):
                self._attempt(stage, lambda stage=stage, fold=fold: fold.finish(self._inputs(stage)))  # type: ignore[misc]

    def _attempt(self, stage: Stage[Any], make: Callable[[], Record | Skipped]) -> None:
        try:
            with self._context.timings.span(stage.name):
                made = make()
                if isinstance(made, Skipped):
                    finished = Finished(stage=stage.name, skipped=made)
                elif type(made) is stage.record:
                    # Stages after this one must see what they would read from the store in a later run.
                    finished = Finished(stage=stage.name, record=made.as_stored())
                else:
                    wanted, got = stage.record.__name__, type(made).__name__
                    finished = Finished.failure(stage.name, f"the stage returned {got}, not {wanted}")
        except Exception as error:
            self._fail(stage.name, error)
            return
        self._finish(finished)

    def _fail(self, stage: str, error: Exception, prefix: str = "") -> None:
        self._raise_fatal(error)
        trace = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]
        self._finish(Finished(stage=stage, cause=prefix + one_line(error), traceback=trace))

    def _finish(self, finished: Finished) -> None:
        self.finished.append(finished)
        self._results[finished.stage] = finished.record or finished.skipped


def one_line(error: BaseException) -> str:
    """An exception as a cause for people."""
    text = " ".join(str(error).split())[:500]
    if isinstance(error, WanprepError):
        return text
    if isinstance(error, MemoryError):
        return "out of memory"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

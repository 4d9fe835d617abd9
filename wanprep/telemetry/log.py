"""A run's events through Python's logging: one JSON object a line with `--log-file`, free of secrets."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from schemas import ClipRecord, OutcomeRecord
from wanprep.engine.job import TaskResult
from wanprep.errors import UsageError
from wanprep.summary import RunSummary

LOGGER = "wanprep.run"  # a program that uses wanprep listens here for the same events
_FIELDS = "wanprep_fields"  # attribute of a log record

# Presigned addresses carry their key in the query, others a password before the host.
_PASSWORD = re.compile(r"([A-Za-z][\w+.-]*://)[^\s/?#@]+@")
_QUERY = re.compile(r"([A-Za-z][\w+.-]*://[^\s?#'\"]*)[?#][^\s'\"]*")

# Without it, Python would print what no one listens to on stderr.
logging.getLogger("wanprep").addHandler(logging.NullHandler())


def redacted(text: str) -> str:
    """`text` without what addresses in it carry beside host and path: user, password, query, fragment."""
    return _QUERY.sub(r"\1?...", _PASSWORD.sub(r"\1", text))


class RunLog:
    """The events of one run."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._logger = logging.getLogger(LOGGER)

    @contextmanager
    def to_file(self, path: Path | None) -> Iterator[None]:
        """Appends this run's events to a file for the length of the block; None: to none.

        Raises:
            UsageError: the file cannot be opened.
        """
        if path is None:
            yield
            return
        try:
            handler = logging.FileHandler(path, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"--log-file {path}: cannot be written ({error.strerror})") from error
        handler.setFormatter(_JsonLines())
        # Two runs of one process must not write into each other's files.
        handler.addFilter(lambda record: getattr(record, _FIELDS, {}).get("run") == self._run)
        level = self._logger.level
        self._logger.addHandler(handler)
        self._logger.setLevel(min(self._logger.getEffectiveLevel(), logging.INFO))
        try:
            yield
        finally:
            self._logger.setLevel(level)
            self._logger.removeHandler(handler)
            handler.close()

    def begin(self, summary: RunSummary) -> None:
        self._say(
            "run_start",
            engine=summary.engine,
            workers=summary.workers,
            clips=summary.clips,
            clips_to_do=summary.clips_to_do,
            stages=list(summary.stages),
            store=redacted(summary.store),
        )

    def end(self, summary: RunSummary, error: BaseException | None) -> None:
        self._say(
            "run_end",
            logging.ERROR if summary.state == "error" else logging.INFO,
            cause=None if error is None else str(error) or type(error).__name__,
            state=summary.state,
            seconds=round(summary.seconds, 3),
            failed=summary.failed,
        )

    def task(self, result: TaskResult) -> None:
        """A task's start and end, each with its own time, and between them what was not done."""
        stages = sorted({*result.done, *result.skipped, *result.failed})
        self._say("task_start", time_ns=result.started_ns, task=result.number, stages=stages)
        for row in [*result.skips, *result.failures]:
            self.not_done(row)
        for clip, stage, text in result.warnings:
            self._say("warning", logging.WARNING, clip=clip, stage=stage, cause=text, time_ns=result.ended_ns)
        counts = {name: sum(getattr(result, name).values()) for name in ("done", "skipped", "failed")}
        seconds = round((result.ended_ns - result.started_ns) / 1e9, 3)
        self._say(
            "task_end",
            time_ns=result.ended_ns,
            task=result.number,
            stages=stages,
            clips=result.clips,
            seconds=seconds,
            **counts,
        )

    def unusable(self, clip: ClipRecord) -> None:
        """A clip that no stage can do anything with."""
        self._say("failed", logging.WARNING, clip=clip.clip_id, stage="clip", cause=clip.why_not)

    def not_done(self, row: OutcomeRecord) -> None:
        """A clip's end at a stage that is not done."""
        failed = row.outcome == "failed"
        self._say(
            row.outcome,
            logging.WARNING if failed else logging.INFO,
            clip=row.clip_id,
            stage=row.stage,
            cause=row.cause if failed else row.reason,
            time_ns=row.created_ns,
            **({} if row.value is None else {"value": row.value}),
        )

    def _say(
        self,
        event: str,
        level: int = logging.INFO,
        *,
        clip: str | None = None,
        stage: str | None = None,
        cause: str | None = None,
        time_ns: int = 0,
        **more: Any,
    ) -> None:
        if not self._logger.isEnabledFor(level):
            return
        cause = None if cause is None else redacted(cause)
        fields = {"run": self._run, "clip": clip, "stage": stage, "event": event, "cause": cause, **more}
        said = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
        record = self._logger.makeRecord(LOGGER, level, __file__, 0, said, (), None, extra={_FIELDS: fields})
        if time_ns:
            record.created = time_ns / 1e9
        self._logger.handle(record)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = getattr(record, _FIELDS)
        # ASCII: whatever a file is called, a line stays a line and a terminal that shows it is safe.
        return json.dumps({"time": time.replace("+00:00", "Z"), "level": record.levelname, **fields})

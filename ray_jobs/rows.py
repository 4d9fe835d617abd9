"""The rows that go through Ray Data: one a task, one JSON text a row, so that nothing but text is passed on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from wanprep.engine.job import Task, TaskResult
from wanprep.errors import StoreError, UsageError, WanprepError

COLUMN = "row"
_ERRORS: dict[str, type[WanprepError]] = {"StoreError": StoreError, "UsageError": UsageError}


@dataclass
class TaskRow:
    """A task on its way through the operators."""

    task: Task
    files: dict[str, str] = field(default_factory=dict)  # key -> Parquet file that an operator has committed
    results: list[TaskResult] = field(default_factory=list)  # one an operator
    error: dict[str, str] | None = None  # what ends the job: kind, message, traceback

    def to_text(self) -> str:
        document: dict[str, Any] = {
            "task": self.task.to_document(),
            "files": self.files,
            "results": [result.to_document() for result in self.results],
            "error": self.error,
        }
        return json.dumps(document, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> TaskRow:
        document = json.loads(text)
        return cls(
            task=Task.from_document(document["task"]),
            files=document["files"],
            results=[TaskResult.from_document(result) for result in document["results"]],
            error=document["error"],
        )


def input_rows(tasks: Sequence[Task]) -> list[dict[str, str]]:
    return [{COLUMN: TaskRow(task).to_text()} for task in tasks]


def results_of(text: str) -> list[TaskResult]:
    """What the operators made of a task, from its row's text.

    Raises:
        WanprepError: what ended the job in a worker, as the worker saw it.
    """
    document = json.loads(text)
    if document["error"] is not None:
        raise _as_exception(document["error"])
    return [TaskResult.from_document(result) for result in document["results"]]


def _as_exception(error: dict[str, str]) -> WanprepError:
    kind = _ERRORS.get(error["kind"])
    if kind is not None:
        return kind(error["message"])
    broken = WanprepError(f"a worker broke down: {error['message']}; this is a bug in wanprep or a plug-in")
    broken.add_note(error["traceback"])
    return broken

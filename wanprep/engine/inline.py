"""The engine that needs nothing but this process: debugging, notebooks, small jobs.

A clip that crashes the process takes the job with it; the Ray engine survives such clips and names them.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas import ClipRecord
from wanprep.engine.job import Job, Listener, Task
from wanprep.engine.operator import Operator


class _Unguarded:
    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def start(self, clip: ClipRecord) -> str | None:
        return None

    def frames(self, count: int) -> None:
        self._listener.frames(count)

    def end(self, clip: ClipRecord) -> None:
        return None


def run(job: Job, tasks: Sequence[Task], listener: Listener) -> None:
    """Runs all tasks one after the other in this process."""
    operators = [Operator(job, names, number) for number, names in enumerate(job.groups)]
    guard = _Unguarded(listener)
    for task in tasks:
        files: dict[str, str] = {}
        for operator in operators:
            result, committed = operator.process(task, guard, files)
            files.update(committed)
            listener.task(result)

"""What runs in a Ray worker: one operator, set up once, and tasks as rows.

Heavy modules are imported in the worker's own code, after its threads are capped, and not to describe it.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from ray_jobs.rows import TaskRow
    from wanprep.engine.job import Job
    from wanprep.engine.operator import Operator

OUT_OF_MEMORY = 71  # exit status of a process that could not go on for want of memory
SET_UP_SECONDS = 1_800.0  # the largest models load within minutes, from a network disk too
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class OperatorWorker:
    """A Ray Data callable. Batches are Arrow tables of one text column, a row a task; so are the results."""

    def __init__(self, job: Job, number: int, ledger: Any, threads: int) -> None:
        # As little as possible happens here: Ray Data gives up the whole job when a worker dies at birth.
        for variable in THREAD_VARIABLES:
            os.environ[variable] = str(threads)
        self._job = job
        self._number = number
        self._ledger = ledger
        self._threads = threads
        self._operator: Operator | None = None
        self._refusal: str | None = None
        self._watchdog: Any = None

    def __call__(self, batch: pa.Table) -> pa.Table:
        from ray_jobs.rows import COLUMN, TaskRow

        texts = []
        for text in batch.column(COLUMN).to_pylist():
            row = TaskRow.from_text(text)
            if row.error is None:
                try:
                    self._process(row)
                except MemoryError:
                    # Nothing was left to write the clip's failure down with: a new process has, and the ledger knows.
                    os._exit(OUT_OF_MEMORY)
                except Exception as error:
                    # The job's end is told as a row: Ray would wrap it, log it and show its traceback.
                    row.error = _as_document(error)
            texts.append(row.to_text())
        return pa.table({COLUMN: pa.array(texts, pa.string())})

    def _process(self, row: TaskRow) -> None:
        import ray

        from ray_jobs.guard import LedgerGuard

        if self._operator is None:
            self._operator = self._set_up()
        number, task = self._number, row.task.number
        refusal = ray.get(self._ledger.begin_task.remote(number, task)) or self._refusal
        guard = LedgerGuard(
            self._job, self._ledger, self._watchdog, operator=number, task=task, refusal=refusal
        )
        result, committed = self._operator.process(row.task, guard, row.files)
        guard.close()
        row.results.append(result)
        row.files.update(committed)

    def _set_up(self) -> Operator:
        """The operator with its models loaded, or one that does not load them because that kills the worker."""
        import ray

        from ray_jobs.watchdog import Watchdog
        from wanprep.engine.operator import Operator

        class UnreadyOperator(Operator):
            def set_up(self) -> None:
                return None

        stages, worker = self._job.groups[self._number], ray.get_runtime_context().get_actor_id()
        self._watchdog = Watchdog()
        refusal = ray.get(self._ledger.begin_set_up.remote(self._number, worker))
        if refusal is not None:
            self._refusal = f"{refusal} ({', '.join(stages)}); see Ray's logs"
            return UnreadyOperator(self._job, stages, self._number)
        self._watchdog.arm(SET_UP_SECONDS, lambda: None)
        operator = Operator(self._job, stages, self._number)
        operator.set_up()
        self._watchdog.disarm()
        self._cap_threads()
        ray.get(self._ledger.end_set_up.remote(self._number, worker))
        return operator

    def _cap_threads(self) -> None:
        """Libraries that read no variable; only those that the stages have loaded."""
        pa.set_cpu_count(self._threads)
        if "cv2" in sys.modules:
            sys.modules["cv2"].setNumThreads(self._threads)


def _as_document(error: Exception) -> dict[str, str]:
    from wanprep.engine.steps import one_line

    return {
        "kind": type(error).__name__,
        "message": one_line(error),
        "traceback": "".join(traceback.format_exception(error)),
    }

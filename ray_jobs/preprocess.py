"""The Ray engine: a plan's tasks as rows through Ray Data, one pool of workers an operator.

`python -m ray_jobs.preprocess` is the same as `wanprep run --engine ray`, for use as a cluster job's entry point.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ray_jobs import pools, session
from ray_jobs.ledger import MAX_ATTEMPTS, start_ledger
from ray_jobs.rows import COLUMN, input_rows, results_of
from ray_jobs.worker import SET_UP_SECONDS, OperatorWorker
from wanprep.engine.job import Job, Listener, Task, TaskResult
from wanprep.errors import WanprepError

if TYPE_CHECKING:
    import ray

_POLL_SECONDS = 1.0
_BLOCK_BYTES = 1 << 20  # of a result; Ray Data holds tasks back when it expects its usual 128 MiB from each


def run(job: Job, tasks: Sequence[Task], listener: Listener) -> None:
    """Runs all tasks on Ray: the caller's, if it is initialised, the cluster at `job.address`, or one of its own.

    `job.workers` bounds the workers of an operator; 0 takes what the cluster holds.

    Raises:
        UsageError: no cluster answers, or it cannot hold the workers; names the stage.
        StoreError: the store cannot be written.
        WanprepError: Ray itself broke down.
    """
    if not tasks:
        return
    import ray

    from ray_jobs import terminal  # takes Ray Data with it, which a job with nothing to do need not wait for

    needs = pools.needs_of(job)
    # As `ray job submit` does, so that a job that is submitted runs on the cluster it was submitted to.
    address = job.address or os.environ.get("RAY_ADDRESS")
    limits = [min(job.workers or len(tasks), len(tasks))] * len(needs)
    cpus = 0
    if address is None and not ray.is_initialized():
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        limits = pools.local_limits(needs, cores=cores, workers=job.workers or cores, tasks=len(tasks))
        cpus = pools.local_cpus(needs, limits)
    with terminal.quiet(), session.connected(address, cpus=cpus, run=job.run), _readable():
        sizes = pools.fit(needs, session.nodes(), limits)
        with _ledger(listener) as (ledger, hears):
            for result in _results(job, tasks, needs, sizes, ledger):
                with hears:
                    listener.task(result)


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Ray's own errors as one line."""
    from ray.data.exceptions import ExecutionTimeoutError
    from ray.exceptions import RayError

    logs = "Ray's logs are under session_latest/logs in its temporary folder"
    try:
        yield
    except ExecutionTimeoutError as error:
        raise WanprepError(f"Ray has stopped working on the tasks; run again to go on ({logs})") from error
    except RayError as error:
        line = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "")
        raise WanprepError(
            f"Ray broke down ({line or type(error).__name__}); run again to go on ({logs})"
        ) from error


@contextlib.contextmanager
def _ledger(listener: Listener) -> Iterator[tuple[Any, threading.Lock]]:
    """The attempts ledger and a thread that passes on the frames it counts. The lock keeps the listener's two
    callers apart."""
    import ray

    ledger = start_ledger()
    lock, stop = threading.Lock(), threading.Event()

    def poll(timeout: float) -> None:
        with contextlib.suppress(ray.exceptions.RayError):
            count = ray.get(ledger.polled.remote(), timeout=timeout)
            if count:
                with lock:
                    listener.frames(count)

    def watch() -> None:
        while not stop.wait(_POLL_SECONDS):
            poll(timeout=10.0)

    thread = threading.Thread(target=watch, name="frames", daemon=True)
    thread.start()
    try:
        yield ledger, lock
        stop.set()
        thread.join()
        poll(timeout=10.0)
    finally:
        stop.set()
        with contextlib.suppress(ray.exceptions.RayError):
            ray.kill(ledger)


def _results(
    job: Job, tasks: Sequence[Task], needs: Sequence[pools.Need], sizes: Sequence[int], ledger: Any
) -> Iterator[TaskResult]:
    """The result of each operator for each task, as tasks leave the last operator."""
    from ray.data import DataContext

    from ray_jobs import terminal

    with DataContext.current(_context(_patience(job, tasks))):
        dataset = _dataset(job, tasks, needs, sizes, ledger)
        # A prefetch would hold back a task's result until the next one is there.
        batches = iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))
        try:
            for batch in terminal.started_quietly(batches):
                for text in batch.column(COLUMN).to_pylist():
                    yield from results_of(text)
        finally:
            batches.close()


def _patience(job: Job, tasks: Sequence[Task]) -> float:
    """Seconds without any progress after which Ray must have broken down: whatever the workers do, their
    watchdogs would have ended it before, twice over."""
    longest = max(sum(job.time_limit(item.clip) for item in task.clips) for task in tasks)
    return MAX_ATTEMPTS * (SET_UP_SECONDS + longest)


def _context(patience: float) -> Any:
    """Ray Data's settings for this run only."""
    from ray.data import DataContext

    from ray_jobs.terminal import Started

    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.verbose_progress = False
    context.target_max_block_size = _BLOCK_BYTES
    context.execution_no_progress_timeout_s = patience
    context.wait_for_min_actors_s = -1
    context.memory_usage_poll_interval_s = None  # the operator tells its peak at no cost
    context.custom_execution_callback_classes = [Started]
    return context


def _dataset(
    job: Job, tasks: Sequence[Task], needs: Sequence[pools.Need], sizes: Sequence[int], ledger: Any
) -> ray.data.Dataset:
    """Rows from memory, not from a read operator: that one would need a CPU which the pools may have taken."""
    import ray.data

    dataset = ray.data.from_items(input_rows(tasks), override_num_blocks=len(tasks))
    for number, (need, size) in enumerate(zip(needs, sizes, strict=True)):
        dataset = dataset.map_batches(
            OperatorWorker,
            fn_constructor_args=(job, number, ledger, max(1, int(need.of("CPU")))),
            batch_size=1,
            batch_format="pyarrow",
            # One task at a time: a second one would wait behind the first while another worker is idle.
            compute=ray.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
            num_cpus=need.of("CPU"),
            num_gpus=need.of("GPU"),
            memory=need.of("memory") or None,
            resources=need.custom or None,
        )
    return dataset


if __name__ == "__main__":
    from ray_jobs.command import main

    main()

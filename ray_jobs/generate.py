"""The Ray engine of generation: actors that load the model once each, and requests spread over them.

A worker that dies costs the generation it had in hand one attempt; the second is the last.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from ray_jobs import pools, session
from ray_jobs.board import start_board
from ray_jobs.generation_worker import GenerationWorker
from ray_jobs.told_errors import as_exception
from wanprep.errors import UsageError, WanprepError
from wanprep_infer.jobs.job import GenerationJob, Listener, Outcome, outcome_of
from wanprep_infer.jobs.request import Request
from wanprep_infer.progress import Progress

MAX_ATTEMPTS = (
    2  # one death may be bad luck (a killed node, another's memory); the same twice is the generation
)
_POLL_SECONDS = 0.5
_BOARD_SECONDS = 10.0
_LOGS = "Ray's logs are under session_latest/logs in its temporary folder"


def run(job: GenerationJob, requests: Sequence[Request], listener: Listener) -> None:
    """Makes all requests on Ray: the caller's, if it is initialised, the cluster at `job.address`, or one of its own.

    A worker has a GPU of its own, unless the job's device is the CPU or the cluster has none; `job.workers` bounds
    them, and 0 takes one a GPU, or without GPUs one a machine. Store, model and output folder are read and written by
    the workers: on a cluster they are on a file system that all machines see.

    Raises:
        UsageError: no cluster answers, it has no GPU and cuda was asked for, or the model is not there.
        WanprepError: the model cannot be loaded, the output folder not be written, or Ray broke down.
    """
    if not requests:
        return
    import ray

    from ray_jobs import terminal

    address = job.address or os.environ.get("RAY_ADDRESS")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cpus = max(cores, job.workers)
    with terminal.quiet(), session.connected(address, cpus=cpus, run=job.run), _readable():
        nodes = session.nodes()
        need, size = _places(job, nodes, len(requests))
        threads = max(1, cores // size) if address is None else max(1, int(need.of("CPU")))
        board = start_board()
        try:
            _Pool(job, requests, listener, board, need, threads).run(size)
        finally:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(board)


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Ray's own errors as one line."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        line = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "")
        raise WanprepError(
            f"Ray broke down ({line or type(error).__name__}); run again to go on ({_LOGS})"
        ) from error


def _places(job: GenerationJob, nodes: Sequence[dict[str, float]], requests: int) -> tuple[pools.Need, int]:
    """What a worker holds, and how many there are."""
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    if job.options.device == "cuda" and not gpus:
        raise UsageError("--device cuda: no machine of this Ray has a GPU; take --device cpu or auto")
    on_gpu = gpus > 0 and job.options.device != "cpu"
    resources = {"CPU": 1.0, "GPU": 1.0} if on_gpu else {"CPU": 1.0}
    need = pools.Need((job.generator,), resources, dict.fromkeys(resources, job.generator))
    limit = min(job.workers or (gpus if on_gpu else len(nodes)), requests)
    return need, pools.fit([need], nodes, [limit])[0]


def _deaths() -> tuple[type[Exception], ...]:
    """Errors that say that a worker is gone, and its answer with it."""
    from ray import exceptions

    return (
        exceptions.RayActorError,
        exceptions.WorkerCrashedError,
        exceptions.OutOfMemoryError,  # Ray ends workers before the machine runs out
        exceptions.NodeDiedError,
        exceptions.ObjectLostError,
    )


@dataclass
class _Seat:
    """A worker, and what it has in hand."""

    number: int
    actor: Any
    progress: Progress
    request: Request | None = None  # None: it loads the model


class _Pool:
    def __init__(
        self,
        job: GenerationJob,
        requests: Sequence[Request],
        listener: Listener,
        board: Any,
        need: pools.Need,
        threads: int,
    ) -> None:
        self._job, self._listener, self._board = job, listener, board
        self._need, self._threads = need, threads
        self._waiting = deque(requests)
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._died_loading = 0
        self._seats: dict[Any, _Seat] = {}  # by the reference that the worker will answer
        self._numbers = 0

    def run(self, size: int) -> None:
        import ray

        try:
            for _ in range(size):
                self._open()
            while self._seats:
                ready, _ = ray.wait(list(self._seats), num_returns=1, timeout=_POLL_SECONDS)
                self._relay()
                for reference in ready:
                    self._answered(reference, self._seats.pop(reference))
        finally:
            for seat in self._seats.values():
                ray.kill(seat.actor)

    def _open(self) -> None:
        """A new worker, which begins with loading the model."""
        import ray

        number, self._numbers = self._numbers, self._numbers + 1
        actor = (
            ray.remote(GenerationWorker)
            .options(
                num_cpus=self._need.of("CPU"),
                num_gpus=self._need.of("GPU"),
                max_restarts=0,
                max_task_retries=0,
            )
            .remote(self._job.to_document(), number, self._board, self._threads)
        )
        self._seats[actor.load.remote()] = _Seat(number, actor, self._listener.progress.another())

    def _answered(self, reference: Any, seat: _Seat) -> None:
        import ray

        try:
            document = ray.get(reference)
        except _deaths():
            self._died(seat)
            return
        if "error" in document:
            raise as_exception(document["error"])
        if seat.request is None:
            self._died_loading = 0
        else:
            seat.progress.end()
            self._listener.outcome(Outcome.from_document(document["outcome"]))
        if self._waiting and not document.get("spent"):
            seat.request = self._waiting.popleft()
            self._seats[seat.actor.make.remote(seat.request.to_document())] = seat
            return
        ray.kill(seat.actor)
        if self._waiting:
            self._open()

    def _died(self, seat: _Seat) -> None:
        import ray

        seat.progress.end()
        # One that is only out of reach would keep its GPU.
        with contextlib.suppress(ray.exceptions.RayError):
            ray.kill(seat.actor)
        request = seat.request
        if request is None:
            self._died_loading += 1
            if self._died_loading >= MAX_ATTEMPTS:
                if self._seats:
                    return  # those that there are go on
                raise WanprepError(
                    f"workers died {self._died_loading} times while they loaded {self._job.model} "
                    f"(is memory short? fewer --workers need less); {_LOGS}"
                )
        else:
            tried = (request.clip_id, request.key)
            self._attempts[tried] += 1
            cause = self._verdict(request.key)
            if cause is None and self._attempts[tried] >= MAX_ATTEMPTS:
                cause = (
                    "crashed its worker twice (a fault in native code, or no memory was left; see Ray's logs)"
                )
            if cause is None:
                self._waiting.appendleft(request)
            else:
                self._listener.outcome(outcome_of(request, "failed", why=cause))
        if self._waiting:
            self._open()

    def _verdict(self, key: str) -> str | None:
        """Why a worker ended itself; None of one that just died, and of a board that has forgotten."""
        import ray

        try:
            return cast("str | None", ray.get(self._board.verdict.remote(key), timeout=_BOARD_SECONDS))
        except ray.exceptions.RayError:
            return None

    def _relay(self) -> None:
        """Passes on what workers have told of their progress."""
        import ray

        seats = {seat.number: seat.progress for seat in self._seats.values()}
        try:
            events = ray.get(self._board.polled.remote(), timeout=_BOARD_SECONDS)
        except ray.exceptions.RayError:
            return  # a board that is being restarted: progress is to look at, no more
        for number, what, values in events:
            if number not in seats:
                continue
            progress = seats[number]
            if what == "begin":
                progress.begin(*values)
            elif what == "step":
                for _ in range(values[0]):
                    progress.step()
            elif what == "segment":
                progress.segment(*values)
            else:
                progress.end()

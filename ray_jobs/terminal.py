"""Peace on the terminal. What Ray has to say about dying workers goes to its log files all the same."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from typing import Any, TypeVar

from ray.data._internal.execution.execution_callback import ExecutionCallback

T = TypeVar("T")

_NOT_SHOWN = logging.CRITICAL + 1
_STDERR = 2  # the file descriptor: Ray's C++ side knows nothing of sys.stderr


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps Ray's Python side off stdout and stderr for the length of the block."""
    import ray.data  # noqa: F401 - sets up the handlers
    from ray._private import worker

    # The switch that Ray's own debugger uses: messages from other processes would go to stdout.
    shown = getattr(worker, "_worker_logs_enabled", True)
    worker._worker_logs_enabled = False
    changed: list[tuple[logging.Handler, int]] = []
    for name in ("ray", "ray.data"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                changed.append((handler, handler.level))
                handler.setLevel(_NOT_SHOWN)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"ray\b")
            yield
    finally:
        worker._worker_logs_enabled = shown
        for handler, level in changed:
            handler.setLevel(level)


class _Stderr:
    """Points file descriptor 2 at nothing, and back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._saved: int | None = None

    def close(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._saved is None:
                self._saved = os.dup(_STDERR)
                nothing = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nothing, _STDERR)
                os.close(nothing)

    def open(self) -> None:
        with self._lock:
            if self._saved is not None:
                os.dup2(self._saved, _STDERR)
                os.close(self._saved)
                self._saved = None


stderr = _Stderr()


class Started(ExecutionCallback):  # type: ignore[misc]
    """Told by Ray Data when it has created its workers."""

    def before_execution_starts(self, executor: Any) -> None:
        stderr.open()


def started_quietly(rows: Iterator[T]) -> Iterator[T]:
    """`rows` of a dataset that calls `Started`. The C++ side writes an error about its own restarts to stderr
    as workers are created (Ray 2.60, issue 53727); stderr is closed for that tenth of a second."""
    stderr.close()
    try:
        first = next(rows, None)
    finally:
        stderr.open()
    if first is not None:
        yield first
        yield from rows

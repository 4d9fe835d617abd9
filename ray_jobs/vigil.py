"""Watches over the processes of a Ray that this process has started.

When one of them is killed, Ray itself says so in lines of its own, waits (12 s for the raylet, 60 s for the GCS,
measured with Ray 2.60) and then ends this process from within, with no chance to say anything to anyone. A thread
that waits for them notices at once, takes down what hangs on them, so that `ray.shutdown` comes to its end, and has
the job end with one line.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from wanprep.errors import WanprepError


class _Ended(BaseException):
    """Raised in the thread that runs the job. Not an `Exception`, so that Ray Data does not take it for its own."""


class _Vigil:
    """Waits for processes by name and id; the first to end is kept in `ended`."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        self._job_thread = threading.get_ident()
        self._pids = processes
        self._lock = threading.Lock()
        self._over = False
        self.ended: str | None = None
        self._names = {os.pidfd_open(pid): name for name, pid in processes.items()}
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._wait, name="vigil", daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        ready, _, _ = select.select([*self._names, self._wake_read], [], [])
        from ray_jobs import terminal

        with self._lock:
            if self._over or self._wake_read in ready:
                return
            self.ended = self._names[ready[0]]
            terminal.stderr.close()
            self._take_down()
            # The only way into a thread that is busy elsewhere; the job's thread looks for results every 10 ms.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._job_thread), ctypes.py_object(_Ended)
            )

    def _take_down(self) -> None:
        """The raylet with its children. Those find out by themselves that it is gone, but tell the GCS before they
        go; without one they would try for a minute."""
        raylet = self._pids["raylet"]
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()
            for pid in (*map(int, children), raylet):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """After this nothing is raised."""
        with self._lock:
            self._over = True
        os.write(self._wake_write, b"x")
        self._thread.join()
        for descriptor in (*self._names, self._wake_read, self._wake_write):
            os.close(descriptor)


@contextlib.contextmanager
def own_ray() -> Iterator[None]:
    """The Ray that `ray.init` has just started here, watched for the length of the block and ended with it.

    Raises:
        WanprepError: it was taken away from under the job; says which of its processes.
    """
    import ray
    from ray._private import ray_constants, worker

    from ray_jobs import terminal

    node = worker._global_node
    watched = {
        "raylet": ray_constants.PROCESS_TYPE_RAYLET,
        "GCS": ray_constants.PROCESS_TYPE_GCS_SERVER,
    }
    vigil = None
    if hasattr(os, "pidfd_open"):
        pids = {name: node.all_processes[kind][0].process.pid for name, kind in watched.items()}
        vigil = _Vigil(pids)
    try:
        try:
            yield
        finally:
            try:
                if vigil is not None:
                    vigil.stop()
            finally:  # it may be just now that the thread is told
                ray.shutdown()
    except (Exception, _Ended) as error:
        if vigil is None or vigil.ended is None:
            raise
        raise WanprepError(
            f"Ray's {vigil.ended} process on this machine was killed or broke down, and with it the job (was memory "
            "short?); run the same command again to go on from what is committed"
        ) from error
    finally:
        terminal.stderr.open()

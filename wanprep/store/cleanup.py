"""Removes what killed runs left half written."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time

from wanprep.store import layout
from wanprep.store.lock import compaction_at_work
from wanprep.store.retired import remove_due, retire, retired
from wanprep.store.store import Store

_ABANDONED_SECONDS = 24 * 3600  # a temporary file of another machine's run is left alone this long


def remove_abandoned(store: Store) -> int:
    """Deletes temporary files of runs that are over, and tensors that no row came to refer to; returns how many.

    A run on this machine is over when its process is gone, and a file abandoned when the process that wrote it is.
    A run on another machine may be alive, so its files are left until they are a day old. Tensors without rows lie
    between two steps of a commit, or were left there: they go at once when no run is alive. In a bucket, where a
    writer cannot see that they went, they are noted instead, and go when they have had no rows for a day.
    """
    removed = remove_due(store.files)
    if store.files.remote:
        if left := set(store.unreferenced()) - retired(store.files).keys():
            retire(store.files, 0, left, time.time_ns() + _ABANDONED_SECONDS * 10**9)
        return removed
    temporaries = store.files.temporaries()
    over = {name for name in temporaries if _is_abandoned(store, name)}
    # However old: the clock may have been put forward since it was begun.
    written_now = {name for name in temporaries if _is_there(store.files.process_of(name))} - over
    unreferenced = set(store.unreferenced())
    # A compaction's tensors have no rows yet, or none any more but readers that hold them.
    busy = compaction_at_work(store.files)
    busy = busy or any(_is_alive(store, name) for name in store.files.names(layout.RUNS, ".json"))
    if unreferenced and not busy:
        # Looked at again: a run may have ended, and so committed its rows, since the list was made.
        over |= unreferenced & set(store.unreferenced())
    for name in {*temporaries, *unreferenced} - written_now - retired(store.files).keys():
        path = store.files.path(name)
        with contextlib.suppress(OSError):
            if name in over or time.time() - os.path.getmtime(path) > _ABANDONED_SECONDS:
                os.unlink(path)
                removed += 1
    return removed


def _is_alive(store: Store, run_file: str) -> bool:
    return not _is_over(store, run_file.removeprefix(f"{layout.RUNS}/").removesuffix(".json"))


def _is_over(store: Store, run: str) -> bool:
    try:
        about = json.loads(store.files.read_bytes(f"{layout.RUNS}/{layout.checked(run)}.json"))
        host, pid, state = about["host"], int(about["pid"]), about["state"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if state != "running":
        return True
    return host == socket.gethostname() and not _is_there(pid)


def _is_abandoned(store: Store, temporary: str) -> bool:
    """A run that was killed early has no run file yet, but its files name their process."""
    process = store.files.process_of(temporary)
    return _is_over(store, store.files.writer_of(temporary)) or (
        process is not None and not _is_there(process)
    )


def _is_there(pid: int | None) -> bool:
    """Whether a process of this machine is alive."""
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True

"""Removes what killed runs left half written."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time

from wanprep.store import layout
from wanprep.store.store import Store

_ABANDONED_SECONDS = 24 * 3600  # a temporary file of another machine's run is left alone this long


def remove_abandoned(store: Store) -> int:
    """Deletes temporary files of runs that are over, and tensors that no row came to refer to; returns how many.

    A run on this machine is over when its process is gone. A run on another machine may be alive, so its files
    are left until they are a day old. Tensors without rows lie between two steps of a commit, or were left there:
    they go at once when no run is alive.
    """
    removed = 0
    over = {name for name in store.files.temporaries() if _is_over(store, store.files.writer_of(name))}
    unreferenced = set() if store.files.remote else set(store.unreferenced())
    if unreferenced and not any(_is_alive(store, name) for name in store.files.names(layout.RUNS, ".json")):
        # Looked at again: a run may have ended, and so committed its rows, since the list was made.
        over |= unreferenced & set(store.unreferenced())
    for name in {*store.files.temporaries(), *unreferenced}:
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
    if host != socket.gethostname():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False

"""Says that a compaction is at work on a store, so that no second one starts and nobody clears its files away.

Each compaction writes a file of its own and only then looks for others: of two that start together at least one
sees the other, without any locking in the file system or the bucket.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from types import TracebackType
from typing import Any, Self

from wanprep.errors import StoreError
from wanprep.store import layout
from wanprep.store.fs import StoreFiles

COMPACTIONS = "compactions"
_BEAT_SECONDS = 60.0
_SILENT_SECONDS = 3600.0  # a compaction on another machine that was silent for so long is over


class CompactionLock:
    """Held while a compaction runs. `files.run` is its id.

    Raises:
        StoreError: on entering, another compaction is at work; says where.
    """

    def __init__(self, files: StoreFiles) -> None:
        self._files = files
        self._name = f"{COMPACTIONS}/{layout.checked(files.run)}.json"
        self._last = 0.0

    def __enter__(self) -> Self:
        self._write()
        try:
            for name in self._files.names(COMPACTIONS, ".json"):
                if name == self._name:
                    continue
                about = _read(self._files, name)
                if _at_work(about):
                    raise StoreError(
                        f"store {self._files.root}: another compaction is at work on it ({about.get('host')}, process "
                        f"{about.get('pid')}); wait for it to end"
                    )
                with contextlib.suppress(OSError, StoreError):
                    self._files.remove(name)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def beat(self) -> None:
        """To be called now and then: tells that the compaction is alive."""
        if time.monotonic() - self._last > _BEAT_SECONDS:
            self._write()

    def _write(self) -> None:
        about = {"host": socket.gethostname(), "pid": os.getpid(), "beat_ns": time.time_ns()}
        self._files.write_bytes(self._name, json.dumps(about).encode())
        self._last = time.monotonic()

    def _remove(self) -> None:
        with contextlib.suppress(OSError, StoreError):
            self._files.remove(self._name)


def compaction_at_work(files: StoreFiles) -> bool:
    """Whether any compaction is."""
    return any(_at_work(_read(files, name)) for name in files.names(COMPACTIONS, ".json"))


def _read(files: StoreFiles, name: str) -> dict[str, Any]:
    try:
        about = json.loads(files.read_bytes(name))
    except (OSError, ValueError, StoreError):
        # It has ended since it was listed, or is no file of ours.
        return {}
    return about if isinstance(about, dict) else {}


def _at_work(about: dict[str, Any]) -> bool:
    beat_ns, pid = about.get("beat_ns"), about.get("pid")
    if not isinstance(beat_ns, int) or not isinstance(pid, int):
        return False
    if time.time_ns() - beat_ns > _SILENT_SECONDS * 1e9:
        return False
    if about.get("host") != socket.gethostname():
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True

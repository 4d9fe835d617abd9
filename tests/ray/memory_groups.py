"""A group of processes that the kernel holds to so many bytes, and kills beyond."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

_CONTROLLERS = (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max"))
_EMPTY_SECONDS = 10.0


@contextlib.contextmanager
def memory_group(nbytes: int) -> Iterator[Path]:
    """The file into which a process writes its id to be held; skips the test where groups cannot be made."""
    for root, limit in _CONTROLLERS:
        group = Path(root) / f"wanprep-test-{uuid.uuid4().hex[:8]}"
        with contextlib.suppress(OSError):
            group.mkdir()
            try:
                (group / limit).write_text(str(nbytes))
            except OSError:
                group.rmdir()
                continue
            try:
                yield group / "cgroup.procs"
                return
            finally:
                _remove(group)
    pytest.skip("this machine lets no one make a memory group (root and a cgroup file system are needed)")


def _remove(group: Path) -> None:
    """Moves who is still in it back to where all are, and removes it."""
    deadline = time.monotonic() + _EMPTY_SECONDS
    while True:
        for line in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (group.parent / "cgroup.procs").write_text(line)
        try:
            os.rmdir(group)
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)

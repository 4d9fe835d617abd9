"""Faults inside a child process, chosen by its environment. Python imports this file by itself from PYTHONPATH."""

from __future__ import annotations

import atexit
import os
import random
import signal
import time
from pathlib import Path
from typing import Any


def _watch_commits() -> None:
    """Dies before or after the n-th commit of a store file, waits before each, or counts them."""
    moment, _, number = os.environ.get("CHAOS_DIE", "").partition(":")
    die_at = int(number or 0)
    slowness = random.Random(os.environ.get("CHAOS_SEED", "0"))
    longest = float(os.environ.get("CHAOS_SLOW_SECONDS", "0"))
    rename = os.replace
    commits = 0

    def replace(source: Any, target: Any, **options: Any) -> None:
        nonlocal commits
        if not os.path.basename(os.fspath(source)).startswith(".tmp-"):
            rename(source, target, **options)
            return
        commits += 1
        if longest:
            time.sleep(slowness.uniform(0, longest))
        if commits == die_at and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target, **options)
        if commits == die_at and moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace
    if "CHAOS_COUNT" in os.environ:
        atexit.register(lambda: Path(os.environ["CHAOS_COUNT"]).write_text(str(commits)))


def _set_clock(seconds: int) -> None:
    """The wall clock goes wrong by `seconds`; the monotonic one does not."""
    nanoseconds, local_time, utc = time.time_ns, time.localtime, time.gmtime
    time.time_ns = lambda: nanoseconds() + seconds * 1_000_000_000
    time.time = lambda: time.time_ns() / 1e9
    time.gmtime = lambda at=None: utc(time.time() if at is None else at)
    time.localtime = lambda at=None: local_time(time.time() if at is None else at)


_watch_commits()
if shift := int(os.environ.get("CHAOS_CLOCK_SECONDS", "0")):
    _set_clock(shift)

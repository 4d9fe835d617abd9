"""Ends this process when a clip takes too long. A stuck thread cannot be stopped, a process can."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import threading
import time
from collections.abc import Callable

STUCK = 70  # exit status of a process that the watchdog ended
_BACKSTOP_SECONDS = 30.0  # for the thread below to have had its chance


class Watchdog:
    """One deadline at a time. A Python thread keeps it, which has time to say why; behind it stands
    `faulthandler`'s own thread, which needs no interpreter lock and so also ends code that never lets go of it."""

    def __init__(self, backstop_seconds: float = _BACKSTOP_SECONDS) -> None:
        self._backstop_seconds = backstop_seconds
        self._changed = threading.Condition()
        self._deadline: float | None = None
        self._last_words: Callable[[], object] = lambda: None
        self._thread: threading.Thread | None = None

    def arm(self, seconds: float, last_words: Callable[[], object]) -> None:
        """From now on `seconds`; then `last_words` is called and the process ends with status `STUCK`."""
        with self._changed:
            self._deadline = time.monotonic() + seconds
            self._last_words = last_words
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
                self._thread.start()
            self._changed.notify()
        # File descriptor 2: in a Ray worker that is the log file, whatever sys.stderr has become.
        faulthandler.dump_traceback_later(seconds + self._backstop_seconds, exit=True, file=2)

    def disarm(self) -> None:
        with self._changed:
            self._deadline = None
        faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        with self._changed:
            while True:
                left = None if self._deadline is None else self._deadline - time.monotonic()
                if left is not None and left <= 0:
                    break
                # Disarmed and armed again per clip, it needs no waking: it looks when the old deadline comes.
                self._changed.wait(left)
            # The lock is kept: a clip that ends just now must not look finished.
            with contextlib.suppress(Exception):
                faulthandler.dump_traceback(file=2)
                self._last_words()
            os._exit(STUCK)

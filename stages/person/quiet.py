"""Keeps what native libraries write to the error stream off a user's terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_ERROR_STREAM = 2  # file descriptor


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Discards what anything in this process writes to file descriptor 2. For loading models, not for frames:
    other threads' messages are lost with it. Exceptions pass as usual."""
    sys.stderr.flush()
    try:
        kept = os.dup(_ERROR_STREAM)
    except OSError:  # a daemon may have closed it
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _ERROR_STREAM)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, _ERROR_STREAM)
        os.close(kept)
        os.close(nowhere)

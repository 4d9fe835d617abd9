"""wanprep's own folder in the user's cache, and locks that hold for one machine."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/wanprep` or `~/.cache/wanprep`; not made here."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # As the XDG standard has it, a relative path does not count.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "wanprep"


@contextlib.contextmanager
def locked(what: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Keeps other processes of this machine out while the block runs; the lock ends with its process.

    Args:
        what: names the lock; any text.
        on_wait: called once when another process holds it.
    """
    name = f"{hashlib.blake2b(what.encode(), digest_size=16).hexdigest()}.lock"
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(_lock_file(name))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _lock_file(name: str) -> Iterator[int]:
    folder = cache_folder() / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        # A home that cannot be written: the temporary folder is this machine's too.
        path = Path(tempfile.gettempdir()) / f"wanprep-{os.getuid()}-{name}"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield file
    finally:
        os.close(file)

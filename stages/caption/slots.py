"""How many do something at a time on this machine, whatever process they are in."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import stat
import tempfile
import time
from collections.abc import Iterator

from wanprep.errors import WanprepError
from wanprep.key import text_digest

_PAUSE = 0.02  # seconds between looks for a free slot


@contextlib.contextmanager
def slot(what: str, count: int) -> Iterator[None]:
    """Waits until fewer than `count` others hold a slot of `what`, and holds one meanwhile.

    Slots are locked files, which the system frees when their process ends, however it ends.

    Raises:
        WanprepError: the folder of this user's locks is not theirs, or cannot be made.
    """
    folder = _folder()
    names = [os.path.join(folder, f"{text_digest(what)}-{number}") for number in range(count)]
    while True:
        random.shuffle(names)  # so that not all wait at the same file
        for name in names:
            handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                continue
            try:
                yield
            finally:
                os.close(handle)
            return
        time.sleep(_PAUSE * (1 + random.random()))  # noqa: S311


def _folder() -> str:
    folder = os.path.join(tempfile.gettempdir(), f"wanprep-slots-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    status = os.lstat(folder)
    # In a folder that all may write to, somebody else may have been here first.
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise WanprepError(f"{folder} is in the way and not yours: remove it, or set TMPDIR")
    return folder

"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from wanprep.errors import WanprepError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, to be written; it becomes `path` on leaving without an error.

    Folders on the way are made. Whatever goes wrong, the temporary file is removed and `path` is as it was.
    Errors of the block itself pass through.

    Raises:
        WanprepError: the place cannot be written.
    """
    temporary = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        with _told(path):
            _publish(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WanprepError(f"{path} cannot be written ({error.strerror or error})") from error


def _publish(temporary: Path, path: Path) -> None:
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    # The new name is safe once the folder is.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

"""Folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from wanprep.errors import WanprepError

_LEFT = re.compile(r"\..+\.(?:new|old)\.(\d{1,10})\.part")


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` that takes its place at the end, or is removed when something is raised.

    Raises:
        WanprepError: `target` is a link or no folder.
        OSError: the disk is full or not writable.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise WanprepError(f"{target}: is in the way and no folder; move it or export elsewhere")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(target, "new")
    temporary.mkdir()
    try:
        yield temporary
        if target.exists():
            old = _beside(target, "old")
            target.rename(old)
            temporary.rename(target)
            shutil.rmtree(old)
        else:
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Removes what stopped processes have left in `parent` of folders that were never finished."""
    if not parent.is_dir():
        return
    for entry in os.scandir(parent):
        found = _LEFT.fullmatch(entry.name)
        if found and not _alive(int(found[1])):
            shutil.rmtree(entry.path, ignore_errors=True)


def _beside(target: Path, what: str) -> Path:
    # A name of a clip begins with no dot, so none is ever called so.
    return target.with_name(f".{target.name}.{what}.{os.getpid()}.part")


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True

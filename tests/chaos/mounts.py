"""File systems of the test's own, that can fill up and turn read-only for root too."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


def _mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True).returncode == 0


@contextlib.contextmanager
def small_disk(place: Path, nbytes: int) -> Iterator[Path]:
    """A tmpfs of so many bytes at `place`; skips the test where nothing can be mounted."""
    place.mkdir(parents=True)
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a disk that fills up")
    if not _mount("-t", "tmpfs", "-o", f"size={nbytes}", "wanprep-chaos", str(place)):
        pytest.skip("this machine (a container without CAP_SYS_ADMIN?) lets no one mount a tmpfs")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def resize(place: Path, nbytes: int) -> None:
    assert _mount("-o", f"remount,size={nbytes}", str(place))


def turn(place: Path, how: str) -> bool:
    """Remounts `ro` or `rw`; False while a file is open for writing."""
    return _mount("-o", f"remount,{how}", str(place))

"""4K video goes through every stage in a worker that may hold 1.5 GiB."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.media import write_video

_LIMIT = 3 << 29
_CONTROLLERS = (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max"))


@pytest.fixture
def processes_file() -> Iterator[Path | None]:
    """Where to write a process's id to hold it, by the kernel, to 1.5 GiB; None where that is not allowed."""
    for root, limit_file in _CONTROLLERS:
        group = Path(root) / f"wanprep-test-{uuid.uuid4().hex[:8]}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit_file).write_text(str(_LIMIT))
            yield group / "cgroup.procs"
            return
        except OSError:
            continue
        finally:
            group.rmdir()
    yield None


@pytest.mark.slow
def test_4k_features_in_a_worker_of_1_5_gib(tmp_path: Path, processes_file: Path | None) -> None:
    video = write_video(tmp_path / "4k.mp4", 20, size=(3840, 2160), sound=True)
    command = [sys.executable, "-m", "wanprep", "run", str(video), "--store", str(tmp_path / "store")]

    def hold() -> None:
        if processes_file is not None:
            processes_file.write_text(str(os.getpid()))

    done = subprocess.run(
        [*command, "--preset", "features", "--engine", "inline", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=hold,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["failed"] == 0, summary["failures"]
    assert summary["stages"]["flow"]["done"] == summary["stages"]["quality"]["done"] == 1
    # Nobody is in the picture, but everybody has looked.
    assert summary["stages"]["skeleton"]["skipped"] == 1
    assert 0 < summary["worker_peak_bytes"] < _LIMIT

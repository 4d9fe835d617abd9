"""Prepares a folder by the command line in a process of its own, and reads off what became of each file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import wanprep
from helpers.corpus.case import End
from wanprep.media.source import local_path


@dataclass(frozen=True, slots=True)
class Finished:
    """A process that ended. `code` is negative for the signal that ended it; `peak_bytes` is resident memory."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    peak_bytes: int


def run_process(command: Sequence[str], limit: float, cwd: Path | None = None) -> Finished:
    """Runs a command; after `limit` seconds it is killed, and its code is -9."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=err, stdin=subprocess.DEVNULL, cwd=cwd)
        killer = threading.Timer(limit, os.kill, (process.pid, signal.SIGKILL))
        killer.start()
        peak = 0
        try:
            while process.poll() is None:
                peak = max(peak, _peak_bytes(process.pid))
                time.sleep(0.02)
        finally:
            killer.cancel()
        seconds = time.monotonic() - began
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    return Finished(process.returncode, *texts, seconds, peak)


def _peak_bytes(pid: int) -> int:
    """The most resident memory so far. What `wait4` tells would count the parent's as well: between fork and exec a
    child has all of it, and a test process that has loaded PyTorch has much."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


def prepare_folder(folder: Path, store: Path, limit: float = 120) -> Finished:
    """`wanprep run FOLDER --preset motion --engine inline`."""
    arguments = ["run", str(folder), "--store", str(store), "--preset", "motion", "--engine", "inline"]
    return run_process([sys.executable, "-m", "wanprep", *arguments], limit)


def ends(store: Path) -> dict[str, tuple[End, str]]:
    """File name -> how its clip ended, and why. Names that are no UTF-8 are as `os.fsdecode` shows them."""
    opened = wanprep.open(str(store))
    said: dict[str, tuple[End, str]] = {}
    for row in opened.outcomes():
        end = End.SKIPPED if row.outcome == "skipped" else End.FAILED
        # A failure says more than a skipped stage beside it.
        if row.clip_id not in said or end is End.FAILED:
            said[row.clip_id] = (end, row.cause or row.reason or "")
    return {
        os.path.basename(local_path(clip.record.video or "")): said.get(clip.id, (End.DONE, ""))
        for clip in opened.clips()
    }

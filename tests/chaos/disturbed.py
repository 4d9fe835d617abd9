"""Starts jobs as processes of their own, with faults inside them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

RECIPE = "motion"
_INJECTED = Path(__file__).parent / "injected"
_PATIENCE_SECONDS = 150


def start(
    inputs: Path | Iterable[Path],
    store: Path,
    *options: str,
    engine: str = "inline",
    die: str = "",
    clock: int = 0,
    slow: float = 0.0,
    seed: int = 0,
    count: Path | None = None,
) -> subprocess.Popen[str]:
    """`wanprep run`. `die` is `before:n` or `after:n`, the n-th commit of a file; `clock` is wrong by seconds;
    `slow` is the longest wait before a commit, in seconds."""
    given = [inputs] if isinstance(inputs, Path) else list(inputs)
    faults = {"CHAOS_DIE": die, "CHAOS_CLOCK_SECONDS": str(clock), "CHAOS_SLOW_SECONDS": str(slow)}
    faults |= {"CHAOS_SEED": str(seed)} | ({"CHAOS_COUNT": str(count)} if count else {})
    path = os.pathsep.join([str(_INJECTED), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "wanprep", "run", *map(str, given), "--store", str(store)]
    return subprocess.Popen(
        [*command, "--preset", RECIPE, "--engine", engine, *options],
        env={**os.environ, **faults, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status and what was said on stderr."""
    try:
        _, said = process.communicate(timeout=_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, said


def check_one_line(said: str, cause: str) -> None:
    """The job ended with one line for its user, which names the cause."""
    assert "Traceback" not in said, said
    assert cause in said.strip().splitlines()[-1], said

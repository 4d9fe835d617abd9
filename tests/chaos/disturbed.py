"""Starts jobs as processes of their own, with faults inside them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
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
    faults = {"CHAOS_CLOCK_SECONDS": str(clock)} | ({"CHAOS_COUNT": str(count)} if count else {})
    arguments = ["run", *map(str, given), "--store", str(store), "--preset", RECIPE, "--engine", engine]
    return _start(*arguments, *options, die=die, slow=slow, seed=seed, faults=faults)


def start_compaction(store: Path, *, die: str = "") -> subprocess.Popen[str]:
    """`wanprep compact`; `die` as above."""
    return _start("compact", str(store), die=die)


def _start(
    *arguments: str, die: str, slow: float = 0.0, seed: int = 0, faults: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    injected = {"CHAOS_DIE": die, "CHAOS_SLOW_SECONDS": str(slow), "CHAOS_SEED": str(seed), **(faults or {})}
    path = os.pathsep.join([str(_INJECTED), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-m", "wanprep", *arguments],
        env={**os.environ, **injected, "PYTHONPATH": path},
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

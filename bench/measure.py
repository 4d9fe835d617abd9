"""Wall time, CPU of every process a command starts, and tables."""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

WORK = Path(__file__).parent / ".work"
_MARK = "WANPREP_BENCH_MARK"
_SAMPLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds; `cpu` is user and system time of all processes."""

    wall: float
    cpu: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.wall - other.wall, self.cpu - other.cpu)


def command_cost(command: Sequence[str], log: Path) -> Cost:
    """Runs a command and sums the CPU of all it starts, daemons included: they inherit a mark in their environment.

    Raises:
        RuntimeError: it failed; the log has what it printed.
    """
    mark = uuid.uuid4().hex
    cpu: dict[tuple[int, float], float] = {}
    stop = threading.Event()
    sampler = threading.Thread(target=_sample, args=(mark, cpu, stop), daemon=True)
    started = time.perf_counter()
    with log.open("ab") as file:
        process = subprocess.Popen(command, env={**os.environ, _MARK: mark}, stdout=file, stderr=file)
        sampler.start()
        code = process.wait()
    wall = time.perf_counter() - started
    stop.set()
    sampler.join()
    if code:
        raise RuntimeError(f"{' '.join(command)} ended with {code}; see {log}")
    return Cost(wall, sum(cpu.values()))


def _sample(mark: str, cpu: dict[tuple[int, float], float], stop: threading.Event) -> None:
    own: dict[int, bool] = {}
    while True:
        last = stop.is_set()
        for process in psutil.process_iter():
            try:
                if process.pid not in own:
                    own[process.pid] = process.environ().get(_MARK) == mark
                if own[process.pid]:
                    times = process.cpu_times()
                    cpu[process.pid, process.create_time()] = times.user + times.system
            except psutil.Error:
                continue
        if last:
            return
        stop.wait(_SAMPLE_SECONDS)


def seconds(function: Callable[[], object], repeats: int = 5, warm: int = 1) -> float:
    """Median wall seconds of a call."""
    for _ in range(warm):
        function()
    return statistics.median(_once(function) for _ in range(repeats))


def _once(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def show(title: str, headers: Sequence[str], rows: Sequence[Sequence[object]], note: str = "") -> None:
    """Prints a table; floats with three digits."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, header in enumerate(headers):
        table.add_column(header, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row))
    console = Console(width=120)
    console.print(table)
    if note:
        console.print(note)
    console.print()

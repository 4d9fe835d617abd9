"""The time of a step, two ways in turn, and the GPU's memory meanwhile."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Way:
    """One of two ways to the same velocity."""

    seconds: float  # median; CPU seconds of one thread on a CPU, wall seconds on a GPU
    peak_bytes: int  # of the GPU, weights included; 0 on a CPU


def in_turn(
    ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int, device: str
) -> tuple[Way, Way, float]:
    """Both ways' medians, and the median of the ratios of neighbours. Each goes first in every other turn."""
    times: dict[bool, list[float]] = {True: [], False: []}
    peaks = {True: 0, False: 0}
    for turn in range(-1, repeats):  # the first one warms up
        for mine in (True, False) if turn % 2 else (False, True):
            taken, peak = once(ours if mine else theirs, device)
            if turn >= 0:
                times[mine].append(taken)
                peaks[mine] = max(peaks[mine], peak)
    ratio = statistics.median(o / t for o, t in zip(times[True], times[False], strict=True))
    first, second = (Way(statistics.median(times[mine]), peaks[mine]) for mine in (True, False))
    return first, second, ratio


def once(function: Callable[[], Any], device: str) -> tuple[float, int]:
    """Seconds and GPU peak of a call. On a CPU the seconds are this process's, which a busy machine disturbs less."""
    if device == "cpu":
        started = time.process_time()
        function()
        return time.process_time() - started, 0
    import torch

    torch.cuda.reset_peak_memory_stats()
    torch.cuda.synchronize()
    started = time.perf_counter()
    function()
    torch.cuda.synchronize()
    return time.perf_counter() - started, torch.cuda.max_memory_allocated()


def start(device: str) -> str:
    """Readies torch; returns the name of what it runs on."""
    import torch

    if device == "cuda":
        return torch.cuda.get_device_name()
    torch.set_num_threads(1)
    return "CPU, one thread"


def memory(way: Way) -> str:
    """Gigabytes for a table."""
    return f"{way.peak_bytes / 1e9:.1f}" if way.peak_bytes else "-"


def noise(*shape: int, seed: int = 0) -> Any:
    """float32 on the CPU."""
    import torch

    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

"""How many bytes of frames a worker may hold: from the machine, the number of workers, and what the stages load."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wanprep.stage import Stage

_SHARE = 0.8  # of the machine's memory; the rest is the system's and the page cache's
_INTERPRETER = 250 << 20  # bytes of a worker before any stage (measured: 150 to 250 MB with Ray and PyArrow)
# A window's decoded pictures are a fifth of what a clip in work holds: the decoder keeps as many again for
# reference, and scaled copies and results come on top (measured on 4K video).
_WINDOW_SHARE = 5
_LEAST = (
    2 << 20
)  # bytes; less would refuse 720p frames, and then the machine is too small for the stages anyway

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def machine_bytes() -> int:
    """Memory of this machine, or what its container may use of it."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in _CGROUP_LIMITS:
        try:
            limits.append(int(Path(name).read_text().strip()))
        except (OSError, ValueError):
            continue  # no such hierarchy, or "max"
    return min(limits)


def process_bytes() -> int | None:
    """What this process's own limit on data (`ulimit -d`) lets it have; None without one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return None if soft == resource.RLIM_INFINITY else soft


def frame_budget(
    stages: Iterable[Stage[Any]], workers: int, *, machine: int | None = None, process: int | None = None
) -> int:
    """Bytes of decoded pictures that one of `workers` workers may hold at a time.

    Args:
        stages: those of the worker's operator; what each declares as memory is set aside.
        workers: on this machine; 0 (as many as a cluster holds) counts as one a core.
        machine, process: bytes for all workers and for one; None asks the system.
    """
    workers = workers or os.cpu_count() or 1
    own = (machine_bytes() if machine is None else machine) // workers
    process = process_bytes() if process is None else process
    if process is not None:
        own = min(own, process)
    free = int(own * _SHARE) - _INTERPRETER - sum(stage.resources.memory for stage in stages)
    return max(_LEAST, free // _WINDOW_SHARE)

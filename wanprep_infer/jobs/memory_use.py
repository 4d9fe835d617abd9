"""The most memory that this process has held, and its share of the GPU's."""

from __future__ import annotations

import gc
import resource
import sys
from typing import Any


def process_peak_bytes() -> int:
    """Most main memory since the process began, bytes."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def gpu_peak_bytes() -> int:
    """Most memory of the GPU in tensors since `restart_gpu_peak`, bytes; 0 where none is used."""
    cuda = _cuda()
    return 0 if cuda is None else int(cuda.max_memory_allocated())


def restart_gpu_peak() -> None:
    """From now on is counted what the GPU holds."""
    if (cuda := _cuda()) is not None:
        cuda.reset_peak_memory_stats()


def free_gpu() -> None:
    """After a generation that ran out of it: what nobody holds any more goes back."""
    gc.collect()
    if (cuda := _cuda()) is not None:
        cuda.empty_cache()


def is_out_of_gpu_memory(error: BaseException) -> bool:
    return "torch" in sys.modules and isinstance(error, sys.modules["torch"].OutOfMemoryError)


def gpu_is_lost() -> bool:
    """Whether this process can compute nothing more on its GPU: after a fault in a kernel every later call fails."""
    if (cuda := _cuda()) is None:
        return False
    try:
        cuda.synchronize()
    except RuntimeError:
        return True
    return False


def _cuda() -> Any:
    """torch.cuda where it is in use; a job on the CPU does not start it."""
    torch = sys.modules.get("torch")
    return (
        torch.cuda
        if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
        else None
    )

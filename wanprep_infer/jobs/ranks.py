"""Which of several processes this is, when one generation is divided among GPUs (`torchrun`)."""

from __future__ import annotations

import os

from wanprep.errors import UsageError
from wanprep_infer.memory.config import MemoryConfig


def is_first(memory: MemoryConfig) -> bool:
    """Whether this process writes files and speaks: all compute the same frames, and one is enough to tell."""
    return memory.parallel == "none" or os.environ.get("RANK", "0") == "0"


def check_engine(memory: MemoryConfig, engine: str) -> None:
    """Raises:
    UsageError: the engine starts processes of its own, and `parallel` needs those of torchrun.
    """
    if memory.parallel != "none" and engine != "inline":
        raise UsageError(f"--parallel {memory.parallel}: runs in torchrun's processes; take --engine inline")

"""What is given up for less GPU memory: where weights wait, in which precision they are kept, tiles, several GPUs."""

from wanprep_infer.memory.advice import advice
from wanprep_infer.memory.config import MemoryConfig
from wanprep_infer.memory.placing import place

__all__ = ["MemoryConfig", "advice", "place"]

"""What to try when the GPU's memory runs out."""

from __future__ import annotations

from wanprep_infer.memory.config import MemoryConfig

# By what they cost, least first; each takes the place of those before it.
_OFFLOADS = ("none", "model", "group", "sequential")
_SMALL_TILE = 256  # pixels


def advice(config: MemoryConfig) -> str:
    """The options that are left to try, in their order, as the end of a sentence: "try ..."."""
    left: list[str] = []
    later = _OFFLOADS[_OFFLOADS.index(config.offload) + 1 :] if config.parallel == "none" else ()
    if "model" in later:
        left.append("--offload model")
    if config.tile is None or config.tile > _SMALL_TILE:
        left.append(f"--tile {_SMALL_TILE}")
    if config.weights == "as-loaded":
        left.append("--weights fp8")
    left += [f"--offload {name}" for name in later if name != "model"]
    left.append("a smaller picture")
    return "try " + ", then ".join(left)

"""How many parameters a checkpoint has, from the headers of its files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path

from wanprep.models.errors import ModelBroken

TINY_PARAMETERS = 100_000_000  # the smallest Wan2.2 has 5 billion; tiny checkpoints some hundred thousand
_MAX_HEADER = 100 << 20  # bytes, safetensors' own limit


def parameters(files: Iterable[Path]) -> int:
    """The parameters in these safetensors files. Reads no weights.

    Raises:
        ModelBroken: a file has no readable header.
    """
    return sum(_of_file(file) for file in files)


def _of_file(file: Path) -> int:
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > _MAX_HEADER:
                raise ValueError(f"a header of {length:,} bytes")
            header = json.loads(opened.read(length))
        return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelBroken(f"{file}: has no readable safetensors header ({error}); fetch it again") from error


def tiny_note(count: int) -> str | None:
    """What to expect of a model this small, for people; None of a real one, or where the count is not known."""
    if not 0 < count < TINY_PARAMETERS:
        return None
    return f"a tiny model of {count:,} parameters: expect noise"

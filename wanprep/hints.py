"""Small helps for error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str], likeness: float = 0.5) -> str:
    """`; did you mean 'x'?` for the closest known word, or nothing. `likeness` is asked for, 0 to 1 (the same)."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=likeness)
    return f"; did you mean '{close[0]}'?" if close else ""


def plural(count: int, noun: str) -> str:
    """`1 clip`, `2 clips`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def size_text(nbytes: float) -> str:
    """Bytes for people, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.1f} TB"

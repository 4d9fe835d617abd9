"""The two measurements of an encoder, as functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pair:
    """Two ways to the same numbers from the same batch."""

    batch: str  # what it is, with the model's size
    ours: Callable[[], object]
    bare: Callable[[], object]  # the library alone


@dataclass(frozen=True, slots=True)
class Encoder:
    """One encoder. Both functions get a work folder that they may fill."""

    pair: Callable[[Path], Pair]
    long: Callable[[Path, float], object] | None = (
        None  # runs the stage on media of a length, in a fresh process
    )
    lengths: tuple[float, ...] = ()
    unit: str = "s"

"""What a file of the corpus is, and how it must end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class End(StrEnum):
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"  # usable, but a stage has nothing to work on
    EITHER = "done or failed"  # random damage may hit what no decoder looks at


@dataclass(frozen=True, slots=True)
class Case:
    """One file. `cause` is in what a person is told, alternatives split by `|`; `size` and `frames` of what is done."""

    name: str
    what: str
    end: End
    make: Callable[[Path], object]
    cause: str = ""
    size: tuple[int, int] | None = None
    frames: int | None = None
    levels: tuple[int, ...] | None = None  # `flat_HWC` index mod 20 of each frame, in order
    variable: bool | None = None


def done(
    name: str,
    what: str,
    make: Callable[[Path], object],
    *,
    size: tuple[int, int] | None = None,
    frames: int | None = None,
    levels: tuple[int, ...] | None = None,
    variable: bool | None = None,
) -> Case:
    return Case(name, what, End.DONE, make, "", size, frames, levels, variable)


def failed(name: str, what: str, cause: str, make: Callable[[Path], object]) -> Case:
    return Case(name, what, End.FAILED, make, cause)


def skipped(name: str, what: str, cause: str, make: Callable[[Path], object]) -> Case:
    return Case(name, what, End.SKIPPED, make, cause)


def either(name: str, what: str, make: Callable[[Path], object]) -> Case:
    return Case(name, what, End.EITHER, make)

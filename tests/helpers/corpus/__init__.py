"""A folder of media files as the world has them, good, odd and bad, and how each must end."""

from __future__ import annotations

from pathlib import Path

from helpers.corpus import damaged_files, impostors, whole_files
from helpers.corpus.case import Case, End

__all__ = ["CASES", "Case", "End", "build"]

CASES: tuple[Case, ...] = (*whole_files.cases(), *damaged_files.cases(), *impostors.cases())


def build(folder: Path) -> None:
    """Makes every file of the corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        case.make(folder / case.name)

"""What a module of `golden.topics` declares."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from golden.golden_file import GoldenFile


@dataclass(frozen=True)
class Topic:
    """One kind of golden file: how it is called, which cases it has, how a case is checked."""

    files: tuple[str, ...]  # patterns of `GoldenFile.name`, such as "s2v/audio_interp*.safetensors"
    check: Callable[[GoldenFile, str], None]  # raises AssertionError where a case differs
    companions: tuple[str, ...] = ()  # patterns of files that cases read and that hold no case of their own
    cases: Callable[[GoldenFile], Iterable[str]] = GoldenFile.cases

    def has(self, name: str) -> bool:
        return not self.is_companion(name) and any(fnmatchcase(name, pattern) for pattern in self.files)

    def is_companion(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.companions)

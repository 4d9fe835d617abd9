"""What is computed once and read at every step."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Kept:
    """Results by key, made at their first use.

    At first use and not before, because a block's weights may be on the device only while that block runs (offload).
    """

    def __init__(self, keep: bool = True) -> None:
        self.keep = keep
        self._made: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The result under `key`; `make` is called where there is none, each time when nothing is kept."""
        if not self.keep:
            return make()
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return len(self._made)

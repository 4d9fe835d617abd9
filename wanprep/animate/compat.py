"""The two ways of following the official preprocessing."""

from __future__ import annotations

from typing import Literal, TypeAlias

from wanprep.errors import WanprepError

Compat: TypeAlias = Literal["official", "robust"]


class OfficialFailure(WanprepError, ValueError):
    """The Wan2.2 official preprocessing fails on this input; `compat` "robust" does not."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: the official preprocessing fails here; take compat=robust")

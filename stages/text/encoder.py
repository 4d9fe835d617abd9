"""What every text encoder does, and what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.tensor import Tensor


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text as the encoder is given it."""

    ids: tuple[int | str, ...]  # at most `limit`; words for an encoder without a vocabulary
    total: int  # tokens of the whole text

    @property
    def truncated(self) -> int:
        """Tokens that are not among `ids`."""
        return self.total - len(self.ids)


class TextEncoder(Protocol):
    """Turns texts into states."""

    @property
    def name(self) -> str:
        """As records call it."""

    @property
    def channels(self) -> int: ...

    @property
    def precision(self) -> str | None:
        """In which it computes; None: it is no network."""

    @property
    def device(self) -> str | None: ...

    @property
    def batch(self) -> int:
        """How many texts are best encoded together."""

    def tokens(self, text: str) -> Tokens: ...

    def encode(self, texts: Sequence[Tokens]) -> list[Tensor]:
        """States of each text [len(ids), channels], in the dtype that is stored.

        Raises:
            ModelOutOfMemory: not even one text fits on the GPU.
            ModelBroken: states are not finite.
        """

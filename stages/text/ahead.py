"""Encodes texts of clips to come together with the one that is asked for."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from schemas.tensor import Tensor
from stages.text.encoder import TextEncoder, Tokens

_SEEN = 64  # texts to come that a batch is chosen from: enough to find some of like length
_KEPT = 64  # states kept for texts to come; of 512 tokens of umT5-XXL each takes 4 MB
_SHORT = 16  # tokens; among texts this short padding costs nothing


class Ahead:
    """A batch is the text that is asked for and those of like length among the next ones."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._tokens: dict[str, Tokens] = {}
        self._states: dict[Tokens, Tensor] = {}

    def tokens(self, text: str) -> Tokens:
        found = self._tokens.get(text)
        if found is None:
            while len(self._tokens) >= 2 * _SEEN:
                del self._tokens[next(iter(self._tokens))]
            found = self._tokens[text] = self._encoder.tokens(text)
        return found

    def states_LC(self, text: str, upcoming: Iterable[str]) -> Tensor:
        """States of `text`, [L, channels]. `upcoming` are texts that will be asked for next, in order."""
        own = self.tokens(text)
        if own not in self._states:
            batch = [own, *self._like(own, upcoming)]
            while len(self._states) + len(batch) > max(_KEPT, len(batch)):
                del self._states[next(iter(self._states))]
            self._states.update(self._encoded(batch))
        return self._states.pop(own)

    def _encoded(self, batch: list[Tokens]) -> dict[Tokens, Tensor]:
        """States of each of a batch, or of its first text alone where another one's cannot be made."""
        try:
            return dict(zip(batch, self._encoder.encode(batch), strict=True))
        except Exception:
            if len(batch) == 1:
                raise
        return dict(zip(batch[:1], self._encoder.encode(batch[:1]), strict=True))

    def _like(self, own: Tokens, upcoming: Iterable[str]) -> list[Tokens]:
        """Texts to come that are nearest in length, not more than fill the batch."""
        room = self._encoder.batch - 1
        if room <= 0:
            return []
        others = {self.tokens(text) for text in itertools.islice(upcoming, _SEEN)}
        waiting = [
            other for other in others if other != own and other not in self._states and _alike(own, other)
        ]
        # By their ids where lengths are equal: a set has no order of its own.
        waiting.sort(key=lambda other: (abs(len(other.ids) - len(own.ids)), other.ids))
        return waiting[:room]


def _alike(left: Tokens, right: Tokens) -> bool:
    """Whether padding one text to the other's length at most doubles it."""
    shorter, longer = sorted(max(len(text.ids), _SHORT) for text in (left, right))
    return longer <= 2 * shorter

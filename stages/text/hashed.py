"""Text vectors without a model: hashed groups of letters, one unit vector a word.

They tell texts with the same words from texts with others and know nothing of meaning. Hashing as in Weinberger
et al., Feature Hashing for Large Scale Multitask Learning (2009): the hash gives a place and a sign.
"""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from schemas.tensor import Tensor
from stages.text.encoder import Tokens

NAME = "hashed-ngram-v1"
CACHED_WORDS = 8192  # whose vectors are kept
_GROUPS = (3, 4)  # letters
# Chinese characters and Japanese syllables carry a word each, or nearly, and no spaces between them.
_ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_WORD = re.compile(rf"[{_ALONE}]|[^\W_{_ALONE}]+")
_IS_ALONE = re.compile(f"[{_ALONE}]")


class HashedEncoder:
    """One vector of length 1 for each word, or for each Chinese character."""

    name = NAME
    precision = None
    device = None
    batch = 1

    def __init__(self, channels: int, limit: int, dtype: np.dtype[np.generic]) -> None:
        self.channels = channels
        self._limit = limit
        self._dtype = dtype

    def tokens(self, text: str) -> Tokens:
        found = words(text)
        return Tokens(tuple(found[: self._limit]), len(found))

    def encode(self, texts: Sequence[Tokens]) -> list[Tensor]:
        return [self._encode(text) for text in texts]

    def _encode(self, text: Tokens) -> Tensor:
        states_LC = np.zeros((len(text.ids), self.channels), np.float32)
        for row, word in enumerate(text.ids):
            after = str(text.ids[row + 1]) if row + 1 < len(text.ids) else ""
            states_LC[row] = _vector(str(word), after if _IS_ALONE.match(after) else "", self.channels)
        return states_LC.astype(self._dtype)


def words(text: str) -> list[str]:
    """Words in small letters without punctuation; each Chinese character by itself."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _features(word: str, after: str) -> Iterator[str]:
    yield word
    if _IS_ALONE.match(word):
        if after:
            yield word + after
        return
    marked = f"#{word}#"
    for length in _GROUPS:
        for start in range(len(marked) - length + 1):
            yield marked[start : start + length]


@functools.lru_cache(maxsize=CACHED_WORDS)
def _vector(word: str, after: str, channels: int) -> npt.NDArray[np.float32]:
    sums = np.zeros(channels, np.float32)
    for feature in _features(word, after):
        # Not Python's own hash, which differs from process to process.
        value = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "little")
        sums[(value >> 1) % channels] += 1 if value & 1 else -1
    length = float(np.linalg.norm(sums))
    out: npt.NDArray[np.float32] = sums / length if length else sums
    out.flags.writeable = False
    return out

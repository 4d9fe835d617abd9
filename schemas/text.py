"""Artifacts `text` and `negative_text`: what a text encoder made of a clip's text, and of negative prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.record import Record
from schemas.tensor import TENSOR, Tensor


def padded_LC(states_LC: Tensor, length: int) -> Tensor:
    """States with rows of zeros behind them up to `length` [length, C], as Wan's transformers take them: they
    attend to all rows without a mask.

    Raises:
        ValueError: there are more states than `length`.
    """
    if len(states_LC) > length:
        raise ValueError(f"{len(states_LC)} text states do not fit in {length}")
    out = np.zeros((length, states_LC.shape[1]), states_LC.dtype)
    out[: len(states_LC)] = states_LC
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRecord(Record):
    """The states of a text encoder's last or chosen layer, one a token, without padding.

    The backend's name says what they are: `umt5` is what Wan2.2 was trained with, `transformers` another model's
    hidden states, and `hashed-ngram-v1` counts of letter groups that no model was trained with.
    """

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("backend", pa.string(), nullable=False),
            pa.field("model_digest", pa.string()),
            pa.field("precision", pa.string()),
            pa.field("device", pa.string()),
            pa.field("layer", pa.int32()),
            pa.field("text", pa.string(), nullable=False),
            pa.field("source", pa.string(), nullable=False),
            pa.field("limit", pa.int32(), nullable=False),
            pa.field("tokens", pa.int32(), nullable=False),
            pa.field("truncated", pa.int32(), nullable=False),
            pa.field("channels", pa.int32(), nullable=False),
            pa.field("states_LC", TENSOR, nullable=False),
        ]
    )

    backend: str
    model_digest: str | None  # of the encoder's weights; None: it has none
    precision: str | None  # in which the encoder was run
    device: str | None  # cpu or cuda
    layer: int | None  # index of the chosen hidden state, where one is chosen; -1: the last
    text: str  # cleaned, whole, as it was given to the tokenizer
    source: str  # prompt, caption or fallback
    limit: int  # most tokens the encoder was given
    tokens: int  # of the whole text, its end mark counted
    truncated: int  # tokens that the encoder was not given; 0: the whole text is in the states
    channels: int
    states_LC: Tensor  # bfloat16, float16 or float32 [tokens less truncated and skipped, channels]

    def padded_LC(self, length: int = 512) -> Tensor:
        """The states with zeros behind them, [length, channels]."""
        return padded_LC(self.states_LC, length)

    def pooled_C(self) -> npt.NDArray[np.float32]:
        """Mean over tokens scaled to length 1, float32 [channels]; zeros for a text without tokens."""
        mean_C = np.asarray(self.states_LC, np.float32).sum(axis=0) / max(1, len(self.states_LC))
        out: npt.NDArray[np.float32] = mean_C / max(float(np.linalg.norm(mean_C)), 1e-12)
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class NegativeTextRecord(Record):
    """States of negative prompts, one after the other; clips share one such artifact. Columns as in `text`."""

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("backend", pa.string(), nullable=False),
            pa.field("model_digest", pa.string()),
            pa.field("precision", pa.string()),
            pa.field("device", pa.string()),
            pa.field("layer", pa.int32()),
            pa.field("names", pa.list_(pa.string()), nullable=False),
            pa.field("texts", pa.list_(pa.string()), nullable=False),
            pa.field("limit", pa.int32(), nullable=False),
            pa.field("tokens", pa.list_(pa.int32()), nullable=False),
            pa.field("truncated", pa.list_(pa.int32()), nullable=False),
            pa.field("lengths", pa.list_(pa.int64()), nullable=False),
            pa.field("channels", pa.int32(), nullable=False),
            pa.field("states_LC", TENSOR, nullable=False),
        ]
    )

    backend: str
    model_digest: str | None
    precision: str | None
    device: str | None
    layer: int | None
    names: list[str]  # such as wan, s2v and empty
    texts: list[str]  # cleaned
    limit: int
    tokens: list[int]  # of each whole text
    truncated: list[int]
    lengths: list[int]  # rows of `states_LC` that are each text's
    channels: int
    states_LC: Tensor  # [sum of lengths, channels]

    def states_of(self, name: str) -> Tensor:
        """The states of one negative prompt, [L, channels].

        Raises:
            ValueError: the record has none of this name.
        """
        if name not in self.names:
            raise ValueError(f"no negative prompt is called '{name}' (there are: {', '.join(self.names)})")
        index = self.names.index(name)
        start = sum(self.lengths[:index])
        part_LC: Tensor = self.states_LC[start : start + self.lengths[index]]
        return part_LC

    def padded_LC(self, name: str, length: int = 512) -> Tensor:
        """The states of one negative prompt with zeros behind them, [length, channels]."""
        return padded_LC(self.states_of(name), length)

"""Batches are made of the text that is asked for and of those to come that are of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.tensor import Tensor
from stages.text.ahead import Ahead
from stages.text.encoder import Tokens


class Letters:
    """One token a letter; states are the letters. Notes each batch."""

    name, channels, precision, device = "letters", 1, None, None

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.batches: list[list[str]] = []

    def tokens(self, text: str) -> Tokens:
        return Tokens(tuple(map(ord, text)), len(text))

    def encode(self, texts: Sequence[Tokens]) -> list[Tensor]:
        self.batches.append(["".join(map(chr, map(int, text.ids))) for text in texts])
        if any("x" in text for text in self.batches[-1]):
            raise ValueError("x is no letter")
        return [np.array(text.ids, np.float32)[:, None] for text in texts]


def test_texts_of_like_length_come_together() -> None:
    encoder = Letters(batch=3)
    ahead = Ahead(encoder)
    texts = ["aaaa", "b", "cccc", "dddddddd", "ee", "fffff", "g"]
    for index, text in enumerate(texts):
        found = ahead.states_LC(text, iter(texts[index + 1 :]))
        assert found[:, 0].tolist() == list(map(ord, text))
    assert encoder.batches == [["aaaa", "cccc", "fffff"], ["b", "g", "ee"], ["dddddddd"]]


def test_an_encoder_without_batches_never_looks_ahead() -> None:
    def upcoming() -> Iterator[str]:
        raise AssertionError("looked ahead")
        yield ""

    encoder = Letters(batch=1)
    ahead = Ahead(encoder)
    ahead.states_LC("one", upcoming())
    ahead.states_LC("one", upcoming())
    assert encoder.batches == [["one"], ["one"]]


@given(
    texts=st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=200), batch=st.integers(1, 20)
)
def test_every_text_gets_its_own_states_and_little_is_kept(texts: list[str], batch: int) -> None:
    encoder = Letters(batch)
    ahead = Ahead(encoder)
    for index, text in enumerate(texts):
        found = ahead.states_LC(text, iter(texts[index + 1 :]))
        assert found[:, 0].tolist() == list(map(ord, text))
        assert len(ahead._states) <= 64 and len(ahead._tokens) <= 128
    assert all(len(made) <= batch and len(set(made)) == len(made) for made in encoder.batches)


def test_a_short_text_is_not_padded_to_a_long_ones_length() -> None:
    encoder = Letters(batch=9)
    texts = ["a" * 20, "b" * 41, "c" * 39, "d" * 400]
    ahead = Ahead(encoder)
    for index, text in enumerate(texts):
        ahead.states_LC(text, iter(texts[index + 1 :]))
    assert encoder.batches == [[texts[0], texts[2]], [texts[1]], [texts[3]]]


def test_a_text_that_cannot_be_encoded_fails_no_other() -> None:
    encoder = Letters(batch=3)
    texts = ["aa", "ax", "bb", "cc"]
    ahead = Ahead(encoder)
    for index, text in enumerate(texts):
        upcoming = iter(texts[index + 1 :])
        if text == "ax":
            with pytest.raises(ValueError, match="x is no letter"):
                ahead.states_LC(text, upcoming)
        else:
            assert len(ahead.states_LC(text, upcoming)) == 2
    assert encoder.batches[0] == ["aa", "ax", "bb"] and encoder.batches[-1] == ["bb", "cc"]

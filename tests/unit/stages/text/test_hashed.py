"""Hashed words tell texts with the same words from others, in any process, in English and Chinese."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.tensor import BFLOAT16
from stages.text.hashed import HashedEncoder, words

ENCODER = HashedEncoder(512, 512, np.dtype(np.float32))


def states(text: str, encoder: HashedEncoder = ENCODER) -> NDArray[np.float32]:
    return encoder.encode([encoder.tokens(text)])[0]


def likeness(left: str, right: str) -> float:
    a, b = (states(text).sum(axis=0) for text in (left, right))
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_words_and_chinese_characters() -> None:
    assert words("It's 3 o'clock, STRASSE straße!") == ["it", "s", "3", "o", "clock", "strasse", "strasse"]
    assert words("你好，world 世界。カメ") == ["你", "好", "world", "世", "界", "カ", "メ"]
    assert words(" ,.!。") == []


@pytest.mark.parametrize(
    ("text", "paraphrase", "other"),
    [
        (
            "A man in a dark suit talks to the camera and waves his hands",
            "A man wearing a dark suit is talking to the camera while waving his hands",
            "Stock markets fell sharply on Tuesday",
        ),
        (
            "一个穿深色西装的男人对着镜头说话，挥动双手",
            "穿着深色西装的男人面对镜头讲话，双手挥舞",
            "股市周二大幅下跌",
        ),
    ],
    ids=["English", "Chinese"],
)
def test_the_same_words_are_alike(text: str, paraphrase: str, other: str) -> None:
    assert likeness(text, paraphrase) > 0.5 > 0.2 > likeness(text, other)


def test_rows_have_length_one_and_the_stored_dtype() -> None:
    found = states("a man 走路 quickly")
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    assert found.shape == (5, 512)
    short = HashedEncoder(64, 512, BFLOAT16)
    assert states("a man", short).dtype == BFLOAT16 and states("", short).shape == (0, 64)


def test_a_long_text_is_counted_and_cut() -> None:
    tokens = ENCODER.tokens("word " * 5000)
    assert tokens.total == 5000 and len(tokens.ids) == 512 and tokens.truncated == 4488
    assert ENCODER.encode([tokens])[0].shape == (512, 512)


def test_another_process_makes_the_same() -> None:
    code = (
        "import numpy as np; from stages.text.hashed import HashedEncoder as E; e = E(64, 9, np.dtype('f4'));"
        "print(e.encode([e.tokens('a man 走路')])[0].tobytes().hex())"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    encoder = HashedEncoder(64, 9, np.dtype(np.float32))
    assert made == {states("a man 走路", encoder).tobytes().hex()}

"""Texts are cleaned as Wan's pipelines clean them."""

from __future__ import annotations

import html
import re

import ftfy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.text.cleaning import clean


@pytest.mark.parametrize(
    ("given_text", "cleaned"),
    [
        ("  two\n\tlines \r\n", "two lines"),
        ("Tom &amp;amp; Jerry &lt;b&gt;", "Tom & Jerry <b>"),
        ("schÃ¶n, cafÃ©", "schön, café"),
        ("她说：“你好”！", '她说:"你好"!'),
        ("一个人　在跳舞", "一个人 在跳舞"),
        ("a\u00a0b\u2003c", "a b c"),
        ("half \ud83d of a face", "half \ufffd of a face"),
        ("\u200b \n", "\u200b"),
        ("", ""),
        (" \t\n　", ""),
    ],
)
def test_cleaned(given_text: str, cleaned: str) -> None:
    assert clean(given_text) == cleaned


@given(text=st.text(max_size=60))
def test_the_same_as_the_published_rule(text: str) -> None:
    """ftfy, entities twice, white space as single spaces: in that order."""
    published = re.sub(r"\s+", " ", html.unescape(html.unescape(ftfy.fix_text(text))).strip()).strip()
    assert clean(text) == published


@given(text=st.text(alphabet=st.characters(codec=None), max_size=60))
def test_what_is_cleaned_can_be_written(text: str) -> None:
    clean(text).encode("utf-8")

"""Cleans a text the way Wan's own pipelines do before they tokenize it."""

from __future__ import annotations

import html
import re

_SPACE = re.compile(r"\s+")
_SURROGATES = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """`text` with broken Unicode mended, HTML entities resolved twice, and each run of white space as one space.

    The same as Wan2.2's official code and diffusers' Wan pipelines. Mending turns full-width letters and
    punctuation into their common forms. Half characters, which no tokenizer takes, become U+FFFD.
    """
    import ftfy

    mended = ftfy.fix_text(_SURROGATES.sub("\ufffd", text))
    # Twice: captions from the web carry entities that were escaped once too often.
    return _SPACE.sub(" ", html.unescape(html.unescape(mended))).strip()

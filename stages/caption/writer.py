"""What the stage asks of whoever writes captions from pictures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from stages.caption.sampling import Sample
from wanprep.errors import WanprepError
from wanprep.media.geometry import Size

MOST_CHARS = 20_000  # of a caption; umT5's 512 tokens are some 2,500
_THOUGHTS = re.compile(r"<think>.*?</think>", re.DOTALL)
_UNREADABLE = 0.1  # share of characters that stand for bytes which are no text
# How models decline, in their own words at the very beginning; no description begins so.
_REFUSAL = re.compile(
    r"(i'?m sorry|i am sorry|sorry,|i apologi[sz]e|i can'?t (help|assist|describe|provide|comply|fulfil)"
    r"|i cannot (help|assist|describe|provide|comply|fulfil)|i'?m (unable|not able) to|i am (unable|not able) to"
    r"|as an ai\b|抱歉|对不起|很遗憾|我无法|我不能)",
    re.IGNORECASE,
)


class CaptionError(WanprepError):
    """No caption came of it; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Written:
    """A caption as it came, and whether the model was stopped before its end."""

    text: str
    truncated: bool = False


class Writer(Protocol):
    """Writes a caption for pictures. `model` is its name, `digest` that of its weights, `device` where it runs; None
    where that is not here."""

    model: str
    digest: str | None
    device: str | None

    def size(self, width: int, height: int) -> Size:
        """The size in which it wants pictures of this width and height, in pixels."""

    def write(self, prompt: str, sample: Sample) -> Written:
        """The caption of one clip.

        Raises:
            CaptionError: none came.
        """


def cleaned(text: str) -> str:
    """A model's answer as a caption: without its thoughts, its fences and quotes around the whole.

    Raises:
        CaptionError: nothing is left, it is no text, too long, or a refusal.
    """
    text = _THOUGHTS.sub("", text).replace("\r\n", "\n").strip()
    if text.startswith("<think>"):
        raise CaptionError("the model was still thinking when it had to stop; raise caption.max_tokens")
    text = re.sub(r"^```\w*\n(.*)\n```$", r"\1", text, flags=re.DOTALL).strip()
    if len(text) > 1 and (text[0], text[-1]) in (('"', '"'), ("“", "”")):
        text = text[1:-1].strip()
    if not text:
        raise CaptionError("the model answered with nothing")
    if len(text) > MOST_CHARS:
        raise CaptionError(f"the model answered with {len(text):,} characters, over {MOST_CHARS:,}")
    unreadable = sum(char == "\ufffd" or (ord(char) < 32 and char not in "\n\t") for char in text)
    if unreadable > _UNREADABLE * len(text):
        raise CaptionError("the model's answer is no readable text")
    if _REFUSAL.match(text):
        raise CaptionError(f"the model refused: {text.splitlines()[0][:120]}")
    return text

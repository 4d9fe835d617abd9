"""Standard output, and text of others on it: names and messages show what they hold and never act on it."""

from __future__ import annotations

import sys
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_LOG_COLUMNS = 160

# Cc: control characters, escape sequences begin with one; Cs: bytes that are no UTF-8;
# Cf: invisible ones, those that turn the reading direction among them; Zl, Zp: line breaks by another name.
_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def plain(text: str) -> str:
    r"""`text` with every control character as its Python escape (`\x1b`); line breaks too."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _UNSHOWN else char
        for char in text
    )


def shown(text: str) -> str:
    """`plain` text for a rich console: its square brackets are no markup."""
    from rich.markup import escape

    return escape(plain(text))


def console(columns: int = _LOG_COLUMNS) -> Console:
    """Standard output, as wide as its terminal; a log, which has no width of its own, gets `columns`."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=columns)

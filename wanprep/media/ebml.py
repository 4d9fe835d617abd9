"""Whether a Matroska or WebM file is as long as its segment says (RFC 8794, EBML; RFC 9559, Matroska)."""

from __future__ import annotations

import os

from wanprep.media.source import is_remote, local_path

_HEADER = 0x1A45DFA3
_SEGMENT = 0x18538067
_HEAD_BYTES = 4096  # a header takes some 40 bytes


def lacks_end(uri: str) -> bool:
    """Whether a local file ends before its segment does; False for other formats and for live recordings, which
    leave the length open."""
    if is_remote(uri):
        return False
    path = local_path(uri)
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
        size = os.path.getsize(path)
    except OSError:
        return False
    position = 0
    for wanted in (_HEADER, _SEGMENT):
        element = _element(head, position)
        if element is None or element[0] != wanted:
            return False
        _, length, body = element
        if wanted == _SEGMENT:
            return length is not None and body + length > size
        position = body + (length or 0)
    return False


def _element(data: bytes, at: int) -> tuple[int, int | None, int] | None:
    """Number, length of the body (None: open) and where it begins; None when `data` ends before."""
    if at + 5 > len(data):
        return None
    number = int.from_bytes(data[at : at + 4], "big")
    first = data[at + 4]
    width = 9 - first.bit_length()
    if width > 8 or at + 4 + width > len(data):
        return None
    value = int.from_bytes(data[at + 4 : at + 4 + width], "big") & ((1 << 7 * width) - 1)
    return number, None if value == (1 << 7 * width) - 1 else value, at + 4 + width

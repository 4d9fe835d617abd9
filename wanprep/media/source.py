"""Opens media by local path or remote address."""

from __future__ import annotations

import contextlib
import os
import re
import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from wanprep.errors import MediaError

if TYPE_CHECKING:
    from av.container import InputContainer

_REMOTE = re.compile(r"^[a-z][a-z0-9+.-]*://")
# Protocols that a container may follow by itself: a playlist must not make the decoder call a server.
_LOCAL_ONLY = {"protocol_whitelist": "file,crypto,data,pipe"}


def is_remote(uri: str) -> bool:
    return bool(_REMOTE.match(uri)) and not uri.startswith("file://")


def local_path(uri: str) -> str:
    """The path of a local address; file:// addresses are percent-encoded bytes."""
    if uri.startswith("file://"):
        return os.fsdecode(urllib.parse.unquote_to_bytes(uri.removeprefix("file://")))
    return uri


@contextlib.contextmanager
def open_media(uri: str) -> Iterator[InputContainer]:
    """An open PyAV container, closed on leaving.

    Raises:
        MediaError: the file is missing, empty or no media.
    """
    import av

    with contextlib.ExitStack() as stack:
        try:
            if is_remote(uri):
                import fsspec

                handle = stack.enter_context(fsspec.open(uri, "rb"))
                container = stack.enter_context(av.open(handle, options=_LOCAL_ONLY))
            else:
                path = local_path(uri)
                if not os.path.exists(path):
                    raise MediaError("the file does not exist")
                if os.path.getsize(path) == 0:
                    raise MediaError("the file is empty (0 bytes)")
                # The prefix keeps names such as "concat:a" from being read as an ffmpeg protocol.
                container = stack.enter_context(
                    av.open(f"file:{path}", options=_LOCAL_ONLY, metadata_errors="replace")
                )
        except (av.FFmpegError, OSError, ValueError) as error:
            hint = (
                " (no media, or cut off before its index)" if isinstance(error, av.InvalidDataError) else ""
            )
            raise MediaError(f"cannot be opened as media: {reason(error)}{hint}") from error
        yield container


def reason(error: BaseException) -> str:
    """What an FFmpeg or system error says, without numbers, paths and addresses."""
    text = str(getattr(error, "strerror", None) or error)
    return text.splitlines()[0].strip() if text.strip() else type(error).__name__

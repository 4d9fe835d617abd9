"""Opens media by local path or remote address."""

from __future__ import annotations

import contextlib
import os
import re
import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from wanprep.errors import MediaError
from wanprep.media.demux import demux_options, hint, is_playlist
from wanprep.remote import cause, check_address, is_client_trouble

if TYPE_CHECKING:
    from av.container import InputContainer

_REMOTE = re.compile(r"^[a-z][a-z0-9+.-]*://")
# Those that fetch bytes and do nothing else: `reference://` fills in templates, caches load what others left there.
_PROTOCOLS = frozenset(
    (
        "s3",
        "s3a",
        "gs",
        "gcs",
        "hf",
        "http",
        "https",
        "az",
        "abfs",
        "abfss",
        "adl",
        "oci",
        "sftp",
        "ftp",
        "hdfs",
        "webhdfs",
        "memory",
    )
)


def refusal(uri: str) -> str | None:
    """Why an address from a manifest or a store is not opened, or None when it is."""
    if not is_remote(uri):
        return None
    protocol = uri.partition("://")[0]
    if protocol not in _PROTOCOLS or "::" in uri:
        return f"media are not read through {protocol}:// or chained addresses; use a path, s3://, gs://, hf:// or https://"
    return None


def is_remote(uri: str) -> bool:
    """Whether an address is in object storage or on a server.

    Raises:
        UsageError: it holds credentials.
    """
    check_address(uri)
    return bool(_REMOTE.match(uri)) and not uri.startswith("file://")


def local_path(uri: str) -> str:
    """The path of a local address; file:// addresses are percent-encoded bytes."""
    if uri.startswith("file://"):
        return os.fsdecode(urllib.parse.unquote_to_bytes(uri.removeprefix("file://")))
    return uri


@contextlib.contextmanager
def open_media(uri: str) -> Iterator[InputContainer]:
    """An open PyAV container, closed on leaving. Playlists are refused: nothing but `uri` itself is read.

    Raises:
        MediaError: the file is missing, empty or no media, or its server fails, while it is open too.
    """
    import av

    if why_not := refusal(uri):
        raise MediaError(why_not)
    remote = is_remote(uri)
    with contextlib.ExitStack() as stack:
        try:
            container = stack.enter_context(
                _open_remote(uri, stack) if remote else _open_local(local_path(uri))
            )
        except (av.FFmpegError, OSError, ValueError, ImportError) as error:
            if remote and not isinstance(error, av.FFmpegError):
                raise MediaError(f"cannot be read: {cause(error)}") from error
            if not remote and is_playlist(local_path(uri)):
                raise MediaError("is a playlist that names other files; name those instead") from error
            raise MediaError(f"cannot be opened as media: {reason(error)}{hint(error)}") from error
        except Exception as error:
            _tell(error, remote)
            raise
        try:
            yield container
        except Exception as error:
            _tell(error, remote)
            raise


def _open_remote(uri: str, stack: contextlib.ExitStack) -> InputContainer:
    import av
    import fsspec

    handle = stack.enter_context(fsspec.open(uri, "rb"))
    container: InputContainer = av.open(handle, options=demux_options(), metadata_errors="replace")
    return container


def _open_local(path: str) -> InputContainer:
    import av

    if not os.path.exists(path):
        raise MediaError("the file does not exist")
    if os.path.getsize(path) == 0:
        raise MediaError("the file is empty (0 bytes)")
    # The prefix keeps names such as "concat:a" from being read as an ffmpeg protocol.
    return av.open(f"file:{path}", options=demux_options(), metadata_errors="replace")


def _tell(error: Exception, remote: bool) -> None:
    """Raises what a client of remote storage means by its error."""
    if remote and is_client_trouble(error):
        raise MediaError(f"cannot be read: {cause(error)}") from error


def reason(error: BaseException) -> str:
    """What an FFmpeg or system error says, without numbers, paths and addresses."""
    text = str(getattr(error, "strerror", None) or error)
    return text.splitlines()[0].strip() if text.strip() else type(error).__name__

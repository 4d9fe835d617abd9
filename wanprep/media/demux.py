"""What FFmpeg may do while it opens a file, and what its refusals mean."""

from __future__ import annotations

import functools

# 16K video has 133 million; a file of 200 bytes can claim any size.
MAX_PIXELS = 1 << 27

# Formats that name other files or addresses: what is decoded is the file that was given and digested, no other.
_FOLLOWING = frozenset(
    (
        "concat",
        "dash",
        "ffmetadata",
        "hls",
        "imf",
        "lavfi",
        "rtp",
        "rtsp",
        "sap",
        "sdp",
        "vobsub",
        "webm_dash_manifest",
    )
)
_PLAYLIST_STARTS = (b"#EXTM3U", b"ffconcat version", b"v=0\n", b"v=0\r\n")
_HINTS = {
    "InvalidDataError": "no media, or cut off before its index",
    "EOFError": "it ends before its first frame",
    "OSError": "cut off near its start, or the disk fails to read it",
    "ArgumentError": "no media, or in a format that is not taken",
}


@functools.cache
def demux_options() -> dict[str, str]:
    """Options of `av.open`: no playlists, nothing but local files, no pictures above `MAX_PIXELS`."""
    import av

    return {
        "protocol_whitelist": "file",
        "format_whitelist": ",".join(sorted(av.formats_available - _FOLLOWING)),
        "max_pixels": str(MAX_PIXELS),
        "pattern_type": "none",  # a picture named a%03d.png is one picture
    }


def hint(error: BaseException) -> str:
    """What an FFmpeg error on opening most often comes from, in brackets, or nothing."""
    import av

    said = _HINTS.get(type(error).__name__) if isinstance(error, av.FFmpegError) else None
    return f" ({said})" if said else ""


def is_playlist(path: str) -> bool:
    """Whether a local file begins like a list of other files; False when it cannot be read."""
    try:
        with open(path, "rb") as file:
            head = file.read(1024)
    except OSError:
        return False
    return head.startswith(_PLAYLIST_STARTS) or b"<MPD" in head

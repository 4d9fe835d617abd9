"""Looks into input files once: content digest, streams, sizes, times. What is known is not read again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from schemas import MediaRecord
from wanprep.errors import MediaError
from wanprep.inputs import InputClip
from wanprep.key import canonical_json, file_digest, text_digest
from wanprep.media.image import probe_image
from wanprep.media.probe import MediaInfo, probe
from wanprep.media.source import is_remote, local_path, reason, refusal

_THREADS = 4  # reading and hashing release the interpreter lock; more only queue on the disk


def media_of(clips: Iterable[InputClip]) -> dict[str, str]:
    """Address -> kind of every file the clips name, in order."""
    wanted: dict[str, str] = {}
    for clip in clips:
        for kind, uri in (("video", clip.video), ("image", clip.reference), ("audio", clip.audio)):
            if uri is not None:
                wanted.setdefault(uri, kind)
    return wanted


def scan(
    wanted: Mapping[str, str],
    known: Mapping[str, MediaRecord],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, MediaRecord], list[MediaRecord]]:
    """The row of each wanted file, and those rows that are new.

    A file whose size and modification time are as in `known` is taken from there. A file that is no media has
    `error` set; nothing is raised for it.
    """
    rows: dict[str, MediaRecord] = {}
    fresh: list[MediaRecord] = []
    missing: list[tuple[str, str, int, int]] = []
    for uri, kind in wanted.items():
        size, modified_ns = _stamp(uri)
        row = known.get(uri)
        # What was wrong last time is looked at again: rights and decoders change without touching the file.
        if row and (row.size, row.modified_ns, row.error) == (size, modified_ns, None):
            rows[uri] = row
        else:
            missing.append((uri, kind, size, modified_ns))
    _forget_listings(wanted)
    done = len(rows)
    progress(done, len(wanted))
    with ThreadPoolExecutor(_THREADS) as pool:
        for row in pool.map(lambda item: look(*item), missing):
            rows[row.uri] = row
            if row != known.get(row.uri):
                fresh.append(row)
            done += 1
            progress(done, len(wanted))
    return rows, fresh


def _stamp(uri: str) -> tuple[int, int]:
    """Size in bytes and modification time; -1, 0 when it is not there."""
    if refusal(uri):
        return -1, 0
    try:
        if is_remote(uri):
            return _remote_stamp(uri)
        status = os.stat(local_path(uri))
        return status.st_size, status.st_mtime_ns
    except (OSError, ValueError, ImportError):
        return -1, 0


def _remote_stamp(uri: str) -> tuple[int, int]:
    """Size in bytes and what identifies the version; -1, 0 when the server does not say."""
    import fsspec

    try:
        fs, path = fsspec.core.url_to_fs(uri)
        info = fs.info(path)
    except Exception:  # the clients' errors have no base in common; opening the file tells the cause
        return -1, 0
    # Remote times come in many types; the text of what identifies a version stands in for them.
    version = info.get("ETag") or info.get("md5Hash") or info.get("LastModified") or info.get("mtime")
    return int(info["size"] or 0), int(text_digest(str(version))[:15], 16)


def _forget_listings(uris: Iterable[str]) -> None:
    """A listing serves one scan: the next one in this process must see what has changed since."""
    # One address a protocol: its file system is shared by all others.
    for uri in {uri.partition("://")[0]: uri for uri in uris if is_remote(uri) and not refusal(uri)}.values():
        import fsspec

        with contextlib.suppress(ValueError, ImportError):
            fsspec.core.url_to_fs(uri)[0].invalidate_cache()


def look(uri: str, kind: str, size: int, modified_ns: int) -> MediaRecord:
    """Opens one file and describes it. Never raises for what is wrong with the file."""
    digest = text_digest(canonical_json([uri, size, modified_ns]))
    error: str | None = None
    try:
        if size >= 0 and not is_remote(uri):
            # Opening a named pipe would wait for ever.
            if not os.path.isfile(local_path(uri)):
                raise MediaError("is no regular file")
            digest = file_digest(local_path(uri))
        info = probe_image(uri) if kind == "image" else probe(uri)
        if size < 0 and is_remote(uri):
            # Its version is in its key: without, a changed file would pass for the same.
            raise MediaError("its size and version could not be read; run the same command again")
    except MediaError as problem:
        info, error = MediaInfo(video=None, audio=None), str(problem)
    except OSError as problem:
        info, error = MediaInfo(video=None, audio=None), f"cannot be read: {reason(problem)}"
    video, audio = info.video, info.audio
    return MediaRecord(
        uri=uri,
        kind=kind,
        size=size,
        modified_ns=modified_ns,
        digest=digest,
        width=video.width if video else None,
        height=video.height if video else None,
        rotation=video.rotation if video else None,
        frames=video.frames if video else None,
        fps=video.fps if video else None,
        variable_rate=video.variable_rate if video else None,
        first_time=video.first_time if video else None,
        seconds=video.seconds if video else None,
        video_codec=video.codec if video else None,
        audio_codec=audio.codec if audio else None,
        audio_rate=audio.rate if audio else None,
        audio_seconds=audio.seconds if audio else None,
        error=error,
    )

"""A model's digest: over the names and contents of its config and weight files, wherever they lie."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from wanprep.models.cache import cache_folder, locked
from wanprep.models.folder import model_files
from wanprep.models.progress import tell

_BYTES = 16  # of BLAKE2b, as in keys
_CHUNK = 8 << 20
_SHOWN_BYTES = 256 << 20  # from here on there is progress to show, and others wait rather than read it too
_YOUNG_SECONDS = 2.0  # a file this new could change once more without its time changing
_MAX_CACHE = 16 << 20  # bytes
_MAX_ENTRIES = 20_000

# Path -> size, modification time in ns, digest.
_Known = dict[str, tuple[int, int, str]]
_memory: _Known = {}


def files_digest(path: Path, files: Sequence[str] | None = None, parts: Sequence[str] = ()) -> str:
    """BLAKE2b-128 of a model, hex: of a file's content, or of a folder's files by name and content.

    Contents are read once; afterwards path, size and modification time stand for them.

    Args:
        files: of a folder, exactly these; otherwise all that make up a model (`folder.model_files`).
        parts: of a folder, only these sub-folders or files, where they are there.

    Raises:
        OSError: a file cannot be read.
    """
    if path.is_file():
        return _digests([path])[path]
    names = sorted(files) if files is not None else model_files(path, parts)
    digests = _digests([path / name for name in names])
    whole = hashlib.blake2b(digest_size=_BYTES)
    for name in names:
        whole.update(f"{name}\x1f{digests[path / name]}\x1e".encode("utf-8", "surrogatepass"))
    return whole.hexdigest()


def known_digest(path: Path, files: Sequence[str] | None = None) -> str | None:
    """The same, if no content has to be read for it; None otherwise."""
    names = files if files is not None else model_files(path) if path.is_dir() else None
    with contextlib.suppress(OSError):
        if all(_known(item) for item in ([path / name for name in names] if names is not None else [path])):
            return files_digest(path, files)
    return None


def _digests(paths: Sequence[Path]) -> dict[Path, str]:
    found = {path: digest for path in paths if (digest := _known(path))}
    left = [path for path in paths if path not in found]
    if not left:
        return found
    size = sum(path.stat().st_size for path in left)
    if size < _SHOWN_BYTES:
        return found | _read(left, size)
    with locked(f"digest {left[0]}"):
        _memory.clear()  # another process may have read them meanwhile
        found |= {path: digest for path in left if (digest := _known(path))}
        left = [path for path in left if path not in found]
        return found | _read(left, sum(path.stat().st_size for path in left))


def _read(paths: Iterable[Path], total: int) -> dict[Path, str]:
    fresh: _Known = {}
    digests: dict[Path, str] = {}
    done = 0
    buffer = memoryview(bytearray(_CHUNK))
    for path in paths:
        digest = hashlib.blake2b(digest_size=_BYTES)
        with path.open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
                done += count
                if total >= _SHOWN_BYTES:
                    tell("reading models", done, total)
            after = os.fstat(file.fileno())
        digests[path] = digest.hexdigest()
        stable = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        if stable and abs(time.time() - after.st_mtime_ns / 1e9) > _YOUNG_SECONDS:
            fresh[os.path.abspath(path)] = (after.st_size, after.st_mtime_ns, digests[path])
    if fresh:
        _memory.update(fresh)
        # A cache that cannot be written costs time, no more.
        with contextlib.suppress(OSError):
            _save(fresh)
    return digests


def _known(path: Path) -> str | None:
    try:
        now = path.stat()
    except OSError:
        return None
    if not _memory:
        _memory.update(_load())
    size, modified, digest = _memory.get(os.path.abspath(path), (-1, -1, ""))
    return digest if (size, modified) == (now.st_size, now.st_mtime_ns) else None


def _cache_file() -> Path:
    return cache_folder() / "digests.json"


def _load() -> _Known:
    """What the cache file holds; nothing when it is damaged."""
    try:
        if _cache_file().stat().st_size > _MAX_CACHE:
            return {}
        document = json.loads(_cache_file().read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    entries = document.items() if isinstance(document, dict) else ()
    return {path: (entry[0], entry[1], entry[2]) for path, entry in entries if _is_entry(entry)}


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 3
        and all(isinstance(number, int) for number in entry[:2])
        and isinstance(entry[2], str)
        and len(entry[2]) == 2 * _BYTES
        and set(entry[2]) <= set("0123456789abcdef")
    )


def _save(fresh: _Known) -> None:
    with locked("digests.json"):
        entries = _load() | fresh
        if len(entries) > _MAX_ENTRIES:
            entries = {path: entry for path, entry in entries.items() if os.path.exists(path)}
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix="digests-", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogatepass") as file:
                json.dump(entries, file)
            os.replace(temporary, _cache_file())
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

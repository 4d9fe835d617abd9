"""Captions that come with the input: text files beside videos, called as these are but for the suffix `.txt`."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from wanprep.media.source import is_remote, local_path, reason
from wanprep.remote import cause

SUFFIX = ".txt"
MAX_BYTES = 64 << 10  # a caption of a page has some thousand
_AT_ONCE = 256  # files of a bucket that are asked for together


@dataclass(frozen=True, slots=True)
class Given:
    """A caption as given, or why it cannot be taken. Neither: there is none."""

    text: str | None = None
    error: str | None = None


NONE = Given()


def side_car(video: str) -> str:
    """The path of a video's text file, whether or not it is there."""
    return os.path.splitext(video)[0] + SUFFIX


def is_side_car(path: str, stems: Collection[str]) -> bool:
    """Whether a file is the caption of a video, given the videos' paths without their suffixes."""
    stem, suffix = os.path.splitext(path)
    return suffix == SUFFIX and stem in stems


def read_side_car(video: str) -> Given:
    """The caption beside a video on disk. Never raises: what is wrong with a text file is no fault of the video.

    A remote video has none here; see `read_remote`.
    """
    # A plain path is told by a glance: of a million videos most have no text file.
    if "://" in video and is_remote(video):
        return NONE
    path = side_car(local_path(video))
    name = os.path.basename(path)
    try:
        status = os.stat(path)
        # Opening a named pipe would wait for ever.
        if not stat.S_ISREG(status.st_mode):
            return Given(error=f"caption file {name}: is no regular file")
        if status.st_size > MAX_BYTES:
            return _too_long(name, status.st_size)
        with open(path, "rb") as file:
            return parse(file.read(MAX_BYTES + 1), name)
    except (FileNotFoundError, NotADirectoryError):
        return NONE
    except (OSError, ValueError) as error:
        return Given(error=f"caption file {name}: cannot be read ({reason(error)})")


def read_remote(fs: Any, videos: Iterable[str], sizes: Mapping[str, int]) -> dict[str, Given]:
    """The captions beside videos of a listed remote folder, many at a time.

    Args:
        fs: the fsspec file system of the folder.
        videos: paths as the file system lists them.
        sizes: bytes of every listed file, by path.
    """
    found: dict[str, Given] = {}
    wanted: dict[str, str] = {}
    for video in videos:
        path = side_car(video)
        if path in sizes:
            name = os.path.basename(path)
            if sizes[path] > MAX_BYTES:
                found[video] = _too_long(name, sizes[path])
            elif sizes[path] == 0:
                found[video] = parse(b"", name)
            else:
                wanted[video] = path
    paths = sorted(set(wanted.values()))
    contents: dict[str, bytes | Exception] = {}
    for start in range(0, len(paths), _AT_ONCE):
        contents.update(fs.cat(paths[start : start + _AT_ONCE], on_error="return"))
    for video, path in wanted.items():
        content, name = contents.get(path), os.path.basename(path)
        if isinstance(content, bytes):
            found[video] = parse(content, name)
        else:
            why = cause(content) if content is not None else "it went while it was read"
            found[video] = Given(error=f"caption file {name}: cannot be read ({why})")
    return found


def parse(content: bytes, name: str) -> Given:
    """The caption in a text file's bytes."""
    if len(content) > MAX_BYTES:
        return _too_long(name, len(content))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Given(error=f"caption file {name}: is no UTF-8 text (byte {error.start}); save it as UTF-8")
    if "\0" in text:
        return Given(error=f"caption file {name}: holds a NUL character, so it is no text")
    text = "\n".join(text.splitlines()).strip()
    if not text:
        return Given(error=f"caption file {name}: is empty; write a caption into it, or remove it")
    return Given(text=text)


def _too_long(name: str, size: int) -> Given:
    return Given(error=f"caption file {name}: has {size:,} bytes; a caption has {MAX_BYTES:,} at most")

"""The JSON file beside a generated video: what it was made from, and by what. It is written last, so a video with a
side-car that fits it is whole."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from wanprep.key import file_digest
from wanprep_infer.jobs.request import Request
from wanprep_infer.output.whole_file import writing

FORMAT = 1
_MAX_BYTES = 4 << 20
_LIBRARIES = ("wanprep", "torch", "diffusers", "peft", "av")
# See `whole_file.writing`: videos and side-cars, and speech.
_UNFINISHED = re.compile(r"\.[0-9a-f]{8}-.+(?:--\w+-s\d+-[0-9a-f]{8}\.(?:mp4|json)|-[0-9a-f]{8}\.wav)")
_ABANDONED_SECONDS = 24 * 3600


def video_path(out: Path, request: Request) -> Path:
    return out / f"{request.stem}.mp4"


def side_car_path(out: Path, request: Request) -> Path:
    return out / f"{request.stem}.json"


def read_whole(out: Path, request: Request) -> dict[str, Any] | None:
    """The side-car of a request whose video is there and whole, to the byte; None when it has to be made."""
    try:
        path = side_car_path(out, request)
        if path.stat().st_size > _MAX_BYTES:
            return None
        document = json.loads(path.read_bytes())
        video = document["video"]
        file = video_path(out, request)
        whole = (
            document["format"] == FORMAT
            and document["key"] == request.key
            and file.stat().st_size == video["bytes"]
            and file_digest(str(file)) == video["blake2b"]
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return document if whole else None


def write(out: Path, request: Request, about: Mapping[str, Any], video: Mapping[str, Any]) -> None:
    """Writes the side-car of a video that is there; it appears whole or not at all.

    Args:
        about: what is known of clip, model and run, as plain data.
        video: frames, fps, size and so on of the file.

    Raises:
        WanprepError: it cannot be written.
    """
    file = video_path(out, request)
    document = {
        "format": FORMAT,
        "key": request.key,
        "video": {
            "file": file.name,
            "bytes": file.stat().st_size,
            "blake2b": file_digest(str(file)),
            **video,
        },
        **about,
        "versions": versions(),
        "made_from": request.made_from,
    }
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with writing(side_car_path(out, request)) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogatepass")


def versions() -> dict[str, str]:
    """Versions of the libraries that compute or write frames, of those that are installed."""
    found = {}
    for name in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def sweep(out: Path) -> None:
    """Removes what killed processes have left half written: what has not been touched for a day. Younger ones may be
    another process's at work, and are in nobody's way."""
    if not out.is_dir():
        return
    for entry in os.scandir(out):
        if _UNFINISHED.fullmatch(entry.name):
            with contextlib.suppress(OSError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED_SECONDS:
                    os.unlink(entry.path)

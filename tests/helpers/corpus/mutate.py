"""Mutations of a file's bytes, and what reading the result may do."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from schemas import MediaRecord
from wanprep.clip import make_clips
from wanprep.errors import MediaError
from wanprep.inputs import InputClip
from wanprep.media.audio import read_audio
from wanprep.media.video import read_windows
from wanprep.scan import look
from wanprep.timeline import TimelineConfig

SOUND_SECONDS = 60.0  # sound read at most: damage may promise days


@dataclass(frozen=True, slots=True)
class Mutation:
    """`at` is a share of the file, 0 to 1, so that it means something in a file of any length."""

    kind: Literal["flip", "cut", "insert", "copy", "set"]
    at: float
    size: int
    value: int


def mutated(data: bytes, mutations: Iterable[Mutation]) -> bytes:
    """The bytes with the mutations applied one after the other."""
    changed = bytearray(data)
    for mutation in mutations:
        at = int(mutation.at * max(0, len(changed) - 1))
        span = slice(at, at + mutation.size)
        if mutation.kind == "flip" and changed:
            changed[at] ^= 1 << mutation.value % 8
        elif mutation.kind == "cut":
            del changed[span]
        elif mutation.kind == "insert":
            changed[at:at] = bytes([mutation.value]) * mutation.size
        elif mutation.kind == "copy":
            changed[at:at] = changed[span]
        elif mutation.kind == "set":
            changed[span] = bytes([mutation.value]) * len(changed[span])
    return bytes(changed)


def drive(data: bytes, suffix: str) -> str | None:
    """Looks at the bytes as a file, decodes all its pictures and its sound. The cause, or None when it is whole.

    Raises:
        Exception: anything but `MediaError`, which is a bug.
    """
    with tempfile.TemporaryDirectory(prefix="wanprep-fuzz-") as scratch:
        path = Path(scratch, f"a{suffix}")
        path.write_bytes(data)
        media = look(os.fspath(path), "video", len(data), 0)
        causes = [media.error, _pictures(media), _sound(media)]
    return next((cause for cause in causes if cause is not None), None)


def _pictures(media: MediaRecord) -> str | None:
    clip_in = InputClip(clip_id="a", video=media.uri)
    (clip,) = make_clips([clip_in], {media.uri: media}, TimelineConfig(), "recipe")
    if clip.why_not is not None:
        return clip.why_not
    frames = 0
    try:
        for window in read_windows(clip, media):
            window.gray_THW((32, 24))
            frames += window.rgb_THWC().shape[0]
    except MediaError as error:
        return str(error)
    if frames != clip.frames:
        raise AssertionError(f"{frames} frames came of {clip.frames}")
    return None


def _sound(media: MediaRecord) -> str | None:
    if media.audio_codec is None:
        return None
    try:
        for _ in read_audio(
            media.uri, origin=media.first_time, seconds=min(media.seconds or 1.0, SOUND_SECONDS)
        ):
            pass
    except MediaError as error:
        return str(error)
    return None

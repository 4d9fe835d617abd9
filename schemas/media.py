"""The `media` table: what was found in each input file, so that it need not be opened again to plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from schemas.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRecord(Record):
    """One input file as last seen. `error` is set when the file cannot be used, and says why."""

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("uri", pa.string(), nullable=False),
            pa.field("kind", pa.string(), nullable=False),
            pa.field("size", pa.int64(), nullable=False),
            pa.field("modified_ns", pa.int64(), nullable=False),
            pa.field("digest", pa.string(), nullable=False),
            pa.field("width", pa.int32()),
            pa.field("height", pa.int32()),
            pa.field("rotation", pa.int32()),
            pa.field("frames", pa.int64()),
            pa.field("fps", pa.float64()),
            pa.field("variable_rate", pa.bool_()),
            pa.field("first_time", pa.float64()),
            pa.field("seconds", pa.float64()),
            pa.field("video_codec", pa.string()),
            pa.field("audio_codec", pa.string()),
            pa.field("audio_rate", pa.int32()),
            pa.field("audio_seconds", pa.float64()),
            pa.field("error", pa.string()),
        ]
    )

    uri: str
    kind: str  # video, image or audio: the role it was first named in
    size: int  # bytes
    modified_ns: int  # modification time, ns since 1970; 0 where the file system has none
    digest: str  # BLAKE2b-128 of the content, hex
    width: int | None = None  # pixels as shown, rotation applied
    height: int | None = None
    rotation: int | None = None  # degrees, counter-clockwise: 0, 90, 180 or 270
    frames: int | None = None  # frames that a decoder shows
    fps: float | None = None  # average rate, frames per second
    variable_rate: bool | None = None
    first_time: float | None = None  # presentation time of the first frame, seconds
    seconds: float | None = None  # from the first frame's start to the last frame's end
    video_codec: str | None = None
    audio_codec: str | None = None
    audio_rate: int | None = None  # Hz
    audio_seconds: float | None = None
    error: str | None = None

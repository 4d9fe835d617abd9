"""The `clips` table: one row a clip and recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import pyarrow as pa

from schemas.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRecord(Record):
    """A clip: its media, its timeline, and the key of each of its artifacts."""

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("clip_id", pa.string(), nullable=False),
            pa.field("recipe", pa.string(), nullable=False),
            pa.field("video", pa.string()),
            pa.field("video_digest", pa.string()),
            pa.field("reference", pa.string()),
            pa.field("reference_digest", pa.string()),
            pa.field("audio", pa.string()),
            pa.field("audio_digest", pa.string()),
            pa.field("prompt", pa.string()),
            pa.field("caption", pa.string()),
            pa.field("caption_error", pa.string()),
            pa.field("subject", pa.string()),
            pa.field("start", pa.float64(), nullable=False),
            pa.field("end", pa.float64()),
            pa.field("fps", pa.float64()),
            pa.field("frames", pa.int64(), nullable=False),
            pa.field("frames_4n1", pa.int64(), nullable=False),
            pa.field("width", pa.int32()),
            pa.field("height", pa.int32()),
            pa.field("source_fps", pa.float64()),
            pa.field("variable_rate", pa.bool_()),
            pa.field("why_not", pa.string()),
            pa.field("keys", pa.map_(pa.string(), pa.string()), nullable=False),
            pa.field("created_ns", pa.int64(), nullable=False),
        ]
    )

    clip_id: str
    recipe: str  # digest of the recipe's part that determines keys; see recipes/<digest>.json
    video: str | None = None
    video_digest: str | None = None
    reference: str | None = None
    reference_digest: str | None = None
    audio: str | None = None  # a file of its own; None: the video's own sound, if it has any
    audio_digest: str | None = None
    prompt: str | None = None
    caption: str | None = None  # as given with the input: it takes the place of one that a stage would make
    caption_error: str | None = None  # why the caption that was given cannot be taken
    # Whom of several people it is about, as given with the input: "2", the second largest, or a point "x,y" or box
    # "x0,y0,x1,y1" in pixels of the video as shown; None: as the recipe says.
    subject: str | None = None
    start: float = 0.0  # seconds after the first video frame (or first audio sample)
    end: float | None = None  # seconds, exclusive; None: to the end
    fps: float | None = None  # of the clip's timeline
    frames: int = 0  # of the clip's timeline; 0 when there is no video
    frames_4n1: int = 0  # the longest 4n+1 that fits in `frames`; 0 when there is none
    width: int | None = None  # pixels as shown, rotation applied
    height: int | None = None
    source_fps: float | None = None
    variable_rate: bool | None = None
    why_not: str | None = None  # why nothing can be made of this clip
    keys: dict[str, str] = field(default_factory=dict)  # stage name -> key
    created_ns: int = 0

    @property
    def seconds(self) -> float | None:
        """Length of the clip's timeline in seconds; None without video."""
        return self.frames / self.fps if self.fps else None

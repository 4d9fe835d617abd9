"""Which source frames make a clip's frames: resampling by presentation time.

Frame j of a clip stands for the instant `start + j / fps`, counted from the first source frame. It shows the
source frame on screen a quarter of a frame step later, so that container timestamps rounded to milliseconds
neither repeat nor drop a frame.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

F = TypeVar("F")

_TOLERANCE = 0.25  # frame steps


class TimelineConfig(BaseModel):
    """How clips are cut out of their videos."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fps: float | None = Field(
        default=None,
        gt=0,
        le=240,
        description="Frames per second of every clip; none keeps each source's average rate. Fewer frames cost "
        "less, Animate wants 30, S2V 16.",
    )
    split_seconds: float | None = Field(
        default=None,
        gt=0,
        description="Long videos become clips of this length; none leaves them whole (they are streamed). Shorter "
        "clips spread over more workers and lose less when a job is stopped.",
    )
    min_frames: int = Field(
        default=1,
        ge=1,
        description="Shorter clips are skipped with a reason; 5 is the least a 4n+1 video model takes.",
    )


@dataclass(frozen=True, slots=True)
class Timeline:
    """`frames` instants at `fps`, the first `start` seconds after the first source frame."""

    fps: float
    frames: int
    start: float = 0.0

    def instant(self, index: int) -> float:
        """Seconds after the first source frame at which frame `index` is taken."""
        return self.start + (index + _TOLERANCE) / self.fps

    def select(self, timed: Iterable[tuple[float, F]], hold: float = 0.0) -> Generator[F, None, None]:
        """The frame shown at each instant, given (seconds after the first source frame, frame) in order.

        Gives fewer than `frames` when the source ends early; the last frame is held for one source step, and
        for `hold` seconds at least.
        """
        index = 0
        shown: tuple[float, F] | None = None
        step = 1 / self.fps
        for time, frame in timed:
            if shown is not None:
                while index < self.frames and self.instant(index) < time:
                    yield shown[1]
                    index += 1
                step = time - shown[0]
            if index >= self.frames:
                return
            shown = (time, frame)
        # The last frame stays on screen as long as the one before it did.
        step = max(step, hold)
        while (
            shown is not None
            and index < self.frames
            and self.instant(index) < shown[0] + step + 0.5 / self.fps
        ):
            yield shown[1]
            index += 1


def frame_count(seconds: float, fps: float) -> int:
    """Frames that `seconds` hold at `fps`, the nearest number, at least 1."""
    # Halves go up everywhere alike, where round() looks at the number before them.
    return max(1, math.floor(seconds * fps + 0.5))


def longest_4n1(frames: int) -> int:
    """The largest 4n+1 not above `frames`: what the Wan VAE takes, one latent frame for the first frame and one
    for every four after it. 0 when there are no frames."""
    return 0 if frames < 1 else (frames - 1) // 4 * 4 + 1


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a video, in seconds after its start; `end` is exclusive."""

    start: float
    end: float
    frames: int


def split(seconds: float, length: float | None, fps: float) -> list[Piece]:
    """A video as pieces of about `length` seconds, the nearest whole number of frames, the last what is left.

    Together they hold each frame of the whole once.
    """
    total = frame_count(seconds, fps)
    step = total if length is None else min(total, frame_count(length, fps))
    pieces = []
    for first in range(0, total, step):
        last = first + step >= total
        end = seconds if last else (first + step) / fps
        pieces.append(Piece(first / fps, end, total - first if last else step))
    return pieces

"""Which frames of a clip are coded together, and what becomes of those that do not fill a latent frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from wanprep.stage import Skipped

Uneven: TypeAlias = Literal["skip", "repeat", "trim"]

_STRIDE = 4  # frames a latent frame, after a segment's first


@dataclass(frozen=True, slots=True)
class Layout:
    """Segments of `segment_frames` pictures from each of `starts`.

    The first `used` of the clip's frames are coded; then the last of them is repeated `repeated` times.
    """

    segment_frames: int
    overlap: int
    starts: tuple[int, ...]
    used: int
    repeated: int
    left_out: int


def whole(frames: int, uneven: Uneven) -> Layout | Skipped:
    """A clip as one segment; a clip that is not 4n+1 frames long is skipped, filled up or cut."""
    rest = (frames - 1) % _STRIDE
    if rest and uneven == "skip":
        return Skipped(
            f"{frames} frames are not 4n+1 (the nearest below is {frames - rest}); set uneven to repeat or trim",
            float(frames),
        )
    repeated = _STRIDE - rest if rest and uneven == "repeat" else 0
    left_out = rest if uneven == "trim" else 0
    length = frames + repeated - left_out
    return Layout(length, 0, (0,), frames - left_out, repeated, left_out)


def segmented(frames: int, length: int, overlap: int, uneven: Uneven) -> Layout | Skipped:
    """A clip as segments of `length` frames, each starting `overlap` frames before the last one's end.

    A last segment that the clip does not fill is filled up with its last frame or left out.
    """
    step = length - overlap
    count = max(1, -(-(frames - overlap) // step))  # up to the last frame
    missing = (count - 1) * step + length - frames
    if missing and uneven == "skip":
        return Skipped(
            f"{frames} frames do not fill segments of {length} that overlap by {overlap}; set uneven to repeat or trim",
            float(frames),
        )
    if missing and uneven == "trim":
        count -= 1
        if count == 0:
            return Skipped(f"{frames} frames are fewer than a segment of {length}", float(frames))
        missing = 0
    starts = tuple(index * step for index in range(count))
    used = min(frames, starts[-1] + length)
    return Layout(length, overlap, starts, used, missing, frames - used)

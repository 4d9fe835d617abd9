"""How the Wan2.2 official generator cuts a clip into overlapping segments, and pads it to fill the last one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wanprep.animate.compat import Compat, OfficialFailure

SEGMENT_FRAMES = 77  # of one run of the model


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """The frames of a padded clip, and the windows of it that are generated one after the other."""

    indices_T: npt.NDArray[np.int64]  # frame of the clip that each padded frame shows
    windows: tuple[tuple[int, int], ...]  # start, end (exclusive), in padded frames


def padded_length(frames: int, length: int = SEGMENT_FRAMES, carried: int = 1) -> int:
    """Frames after padding: the least that windows of `length` with `carried` frames in common fill.

    It is `frames` itself, or `carried`, for a clip of no more than `carried` frames.

    Raises:
        ValueError: frames are below 1, or `carried` is not between 1 and `length` - 1.
    """
    if frames < 1 or not 1 <= carried < length:
        raise ValueError(
            f"{frames} frames in segments of {length} with {carried} carried over: no such segments"
        )
    step = length - carried
    return frames + (step - (frames - carried) % step) % step


def ping_pong(frames: int, padded: int) -> npt.NDArray[np.int64]:
    """Frame numbers int64 [padded]: forwards to the last, back to the first, and so on, no end repeated."""
    if frames == 1:
        return np.zeros(padded, np.int64)
    period = 2 * (frames - 1)
    place_T = np.arange(padded, dtype=np.int64) % period
    return np.minimum(place_T, period - place_T)


def segment_windows(
    padded: int, length: int = SEGMENT_FRAMES, carried: int = 1
) -> tuple[tuple[int, int], ...]:
    """Start and end of each segment in a clip of `padded` frames; none when it has no more than `carried`."""
    starts = range(0, max(padded - carried, 0), length - carried)
    return tuple((start, start + length) for start in starts)


def segments(
    frames: int, length: int = SEGMENT_FRAMES, carried: int = 1, compat: Compat = "robust"
) -> Segments:
    """All segments of a clip.

    A clip of no more than `carried` frames is padded to one segment under "robust".

    Raises:
        ValueError: as `padded_length` does.
        OfficialFailure: such a clip, under "official".
    """
    padded = padded_length(frames, length, carried)
    if frames <= carried:
        if compat == "official":
            raise OfficialFailure(f"{frames} frames with {carried} carried over make no segment")
        padded = length
    return Segments(ping_pong(frames, padded), segment_windows(padded, length, carried))

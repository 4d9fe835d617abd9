"""Which frames of a container the Wan2.2 official preprocessing takes, by number."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from wanprep.animate.compat import Compat, OfficialFailure
from wanprep.timeline import Timeline, frame_count

_COUNT_DOUBT = (
    0.1  # share by which count and duration may differ before the official code believes the duration
)


def frame_indices(
    frames: int, average_fps: float, end_seconds: float, fps: float | None, compat: Compat = "robust"
) -> tuple[npt.NDArray[np.int64], float]:
    """Numbers of the frames to take, int64 [T] from 0, rising; and the rate they are for.

    Both ways assume a constant rate; `wanprep.timeline` resamples by real timestamps. "official" rounds half to
    even, so that doubling a rate repeats frames unevenly, and may go beyond the real frames where the duration says
    more than the count. "robust" takes for each instant the frame on screen, as `wanprep.timeline` does, believes
    the lesser of count and duration, and gives a frame at least.

    Args:
        frames: as the container counts them, at least 1.
        average_fps: of the container.
        end_seconds: when the last frame ends.
        fps: wanted; None, or -1 as the official code writes it: the container's.

    Raises:
        ValueError: no frames, or a rate that is not positive.
        OfficialFailure: the official code takes no frame of a clip this short.
    """
    if frames < 1 or not average_fps > 0 or not (fps is None or fps == -1 or fps > 0):
        raise ValueError(f"{frames} frames at {average_fps} fps to {fps} fps: all are above 0")
    by_duration = int(end_seconds * average_fps + 0.5)
    rate = average_fps if fps is None or fps == -1 else fps
    if compat == "robust":
        return _on_screen(min(frames, by_duration) if by_duration > 0 else frames, average_fps, rate), rate
    if abs(frames - by_duration) / frames > _COUNT_DOUBT:
        frames = by_duration
    taken = int(frames / average_fps * rate)
    if taken < 1:
        raise OfficialFailure(f"{frames} frames at {average_fps} fps give none at {rate} fps")
    numbers_T = np.round(np.arange(taken) / rate * average_fps).astype(np.int64)
    return np.clip(numbers_T, 0, frames - 1), rate


def _on_screen(frames: int, average_fps: float, rate: float) -> npt.NDArray[np.int64]:
    line = Timeline(fps=rate, frames=frame_count(frames / average_fps, rate))
    numbers = [math.floor(line.instant(index) * average_fps) for index in range(line.frames)]
    return np.clip(np.array(numbers, np.int64), 0, frames - 1)

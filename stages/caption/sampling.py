"""The few pictures of a clip that are looked at, by time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from schemas import ClipRecord, MediaRecord
from wanprep.media.geometry import Size
from wanprep.media.video import read_windows
from wanprep.timing import Timings


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Pictures of one size, and when they are shown."""

    medium: Literal["video", "reference"]
    frames_THWC: npt.NDArray[np.uint8]  # RGB
    times_T: npt.NDArray[np.float64]  # seconds after the clip's start
    seconds: float  # length of the clip; 0 for a still picture
    source_size: Size  # of the video or picture as shown

    @property
    def size(self) -> Size:
        return self.frames_THWC.shape[2], self.frames_THWC.shape[1]


def sample_times(seconds: float, clip_fps: float, fps: float, most: int) -> npt.NDArray[np.float64]:
    """When to look: every 1 / `fps` seconds from 0 on, or `most` times at equal distances where that is fewer; never
    more often than the clip has frames. float64 [times], seconds after the clip's start."""
    rate = min(fps, clip_fps)
    # The tolerance keeps 1 s at 3 a second at three pictures.
    count = max(1, math.ceil(seconds * rate - 1e-6))
    if count > most:
        count, rate = most, most / seconds
    return np.arange(count, dtype=np.float64) / rate


def sample_video(
    clip: ClipRecord,
    media: MediaRecord,
    *,
    fps: float,
    most: int,
    size: Callable[[int, int], Size],
    timings: Timings | None = None,
) -> Sample:
    """Decodes a clip up to its last sampled frame and keeps the sampled ones, at `size(width, height)`.

    Raises:
        MediaError: the clip has no video, or it does not decode that far.
    """
    clip_fps, seconds = clip.fps or 0.0, clip.seconds or 0.0
    times_T = sample_times(seconds, clip_fps, fps, most)
    rate = 1 / float(times_T[1]) if len(times_T) > 1 else clip_fps
    # A timeline's instants lie a quarter of its own step late: moved so that they are those of the clip's frames.
    start = clip.start + 0.25 / clip_fps - 0.25 / rate
    sparse = replace(clip, fps=rate, frames=len(times_T), start=start)
    target = size(media.width or 1, media.height or 1)
    frames_THWC = np.empty((len(times_T), target[1], target[0], 3), np.uint8)
    for window in read_windows(sparse, media, timings=timings):
        frames_THWC[window.start : window.start + len(window)] = window.rgb_THWC(target)
    return Sample("video", frames_THWC, times_T, seconds, (media.width or 1, media.height or 1))


def sample_picture(uri: str, size: Callable[[int, int], Size]) -> Sample:
    """A still picture at `size(width, height)`.

    Raises:
        MediaError: it cannot be read.
    """
    from wanprep.media.image import read_image, resize_stretch

    rgb_HWC = read_image(uri)
    height, width = rgb_HWC.shape[:2]
    frame_HWC = resize_stretch(rgb_HWC, size(width, height))
    return Sample("reference", frame_HWC[None], np.zeros(1), 0.0, (width, height))


def fit_pixels(width: int, height: int, most: int, multiple: int) -> Size:
    """Width and height of at most `most` pixels in about the aspect given, both multiples of `multiple` and at least
    one; a picture that is smaller is not made larger than to the next multiple."""
    scale = min(1.0, math.sqrt(most / (width * height)))
    # Down where the limit makes it smaller, as Qwen-VL's own processors do it; else to the nearest.
    to_multiples = math.floor if scale < 1 else round
    across = max(1, to_multiples(width * scale / multiple))
    down = max(1, to_multiples(height * scale / multiple))
    limit = max(1, most // multiple**2)
    # Rounding up may have gone over the limit; so does a strip thinner than one multiple.
    while across * down > limit and max(across, down) > 1:
        if across >= down:
            across -= 1
        else:
            down -= 1
    return across * multiple, down * multiple

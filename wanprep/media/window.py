"""A few consecutive frames of a clip, scaled on demand and only once a size."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from wanprep.media.geometry import Size
from wanprep.timing import Timings

if TYPE_CHECKING:
    from av import VideoFrame

T = TypeVar("T")
Pixels = npt.NDArray[np.uint8]


class Window:
    """Frames `start` to `start + count` (exclusive) of a clip's timeline.

    `width` and `height` are the clip's, as shown. Pictures are made by swscale with area averaging straight
    from the decoded frame, then turned upright; asking twice for a size costs once.
    """

    def __init__(
        self,
        start: int,
        frames: Sequence[VideoFrame],
        *,
        width: int,
        height: int,
        rotation: int = 0,
        timings: Timings | None = None,
    ) -> None:
        self.start = start
        self.count = len(frames)
        self.width = width
        self.height = height
        self._frames = frames
        self._rotation = rotation
        self._timings = timings or Timings()
        self._memo: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return self.count

    def rgb_THWC(self, size: Size | None = None) -> Pixels:
        """uint8 [T, height, width, 3], contiguous and read-only; `size` defaults to the clip's own."""
        return self.memo("decode", ("rgb24", size), lambda: self._convert("rgb24", size))

    def gray_THW(self, size: Size | None = None) -> Pixels:
        """uint8 [T, height, width] luma, 0 to 255, contiguous and read-only."""
        return self.memo("decode", ("gray", size), lambda: self._convert("gray", size))

    def memo(self, label: str, key: Hashable, make: Callable[[], T]) -> T:
        """`make()`, once for all stages that ask with this key; its time is booked under `label`."""
        full_key = (label, key)
        if full_key not in self._memo:
            with self._timings.span(label):
                self._memo[full_key] = make()
        found: T = self._memo[full_key]
        return found

    def _convert(self, pixel_format: str, size: Size | None) -> Pixels:
        from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

        width, height = size or (self.width, self.height)
        turned = self._rotation in (90, 270)
        reformatter = VideoReformatter()
        pictures: list[Pixels] = []
        previous: VideoFrame | None = None
        for frame in self._frames:
            # A timeline faster than the source shows a frame twice: convert it once.
            if frame is not previous:
                # swscale scales a luma plane in half the time that it takes to make a gray picture (measured).
                video_range = frame.format.name == "yuv420p" and frame.color_range != ColorRange.JPEG
                plain = pixel_format == "gray" and video_range
                scaled = reformatter.reformat(
                    frame,
                    width=height if turned else width,
                    height=width if turned else height,
                    format=frame.format.name if plain else pixel_format,
                    interpolation=Interpolation.AREA,
                    threads=1,
                )
                shown = _full_range_luma(scaled) if plain else scaled.to_ndarray()
                # swscale pads rows of odd widths; consumers such as optical flow need contiguous pictures.
                picture = np.ascontiguousarray(np.rot90(shown, self._rotation // 90), dtype=np.uint8)
            pictures.append(picture)
            previous = frame
        stacked = np.stack(pictures)
        stacked.flags.writeable = False
        return stacked


# Luma of video lies between 16 and 235 (ITU-R BT.601 and BT.709).
_FULL_RANGE = np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)


def _full_range_luma(frame: VideoFrame) -> Pixels:
    """The luma plane of a yuv420p frame, stretched to 0 to 255: uint8 [H,W]."""
    plane: Any = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
    stretched: Pixels = _FULL_RANGE[rows]
    return stretched

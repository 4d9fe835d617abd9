"""A few consecutive frames of a clip, scaled on demand and only once a size."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from wanprep.errors import MediaError
from wanprep.media.geometry import Size
from wanprep.media.source import reason
from wanprep.timing import Timings

if TYPE_CHECKING:
    from av import VideoFrame

T = TypeVar("T")
Pixels = npt.NDArray[np.uint8]


class Window:
    """Frames `start` to `start + count` (exclusive) of a clip's timeline.

    `width` and `height` are the clip's, as shown. Pictures are scaled by swscale with area averaging in the video's
    own planes, then converted and turned upright; asking twice for a size costs once. Colour has the resolution that
    a video of that size has.
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
        pictures: Pixels | None = None
        frames = self._scaled(size)
        for index, frame in enumerate(frames):
            # A timeline faster than the source shows a frame twice: convert it once.
            if pictures is not None and frame is frames[index - 1]:
                pictures[index] = pictures[index - 1]
                continue
            picture = np.rot90(_pixels(frame, pixel_format), self._rotation // 90)
            if pictures is None:
                pictures = np.empty((self.count, *picture.shape), np.uint8)
            # swscale pads rows of odd widths: the copy makes them contiguous.
            pictures[index] = picture
        assert pictures is not None
        pictures.flags.writeable = False
        return pictures

    def _scaled(self, size: Size | None) -> Sequence[VideoFrame]:
        """The frames at a size, not yet turned or converted; all pixel formats are made from these."""
        if size is None or size == (self.width, self.height):
            return self._frames
        return self.memo("decode", ("scaled", size), lambda: self._scale(size))

    def _scale(self, size: Size) -> list[VideoFrame]:
        from av.video.reformatter import Interpolation, VideoReformatter

        turned = self._rotation in (90, 270)
        width, height = (size[1], size[0]) if turned else size
        reformatter = VideoReformatter()
        scaled: list[VideoFrame] = []
        for index, frame in enumerate(self._frames):
            if index and frame is self._frames[index - 1]:
                scaled.append(scaled[-1])
                continue
            # Scaling video's own planes and converting the small picture takes less than half the time of doing
            # both at once (measured); other formats have no such short cut.
            pixel_format = frame.format.name if frame.format.name in _PLANAR else "rgb24"
            with _told(frame):
                scaled.append(
                    reformatter.reformat(
                        frame,
                        width=width,
                        height=height,
                        format=pixel_format,
                        interpolation=Interpolation.AREA,
                        threads=1,
                    )
                )
        return scaled


_PLANAR = frozenset({"yuv420p", "yuv422p", "yuv444p", "yuvj420p", "gray"})


@contextlib.contextmanager
def _told(frame: VideoFrame) -> Iterator[None]:
    """Makes what the scaler refuses a cause for people."""
    import av

    try:
        yield
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(
            f"its pictures ({frame.format.name}, {frame.width}x{frame.height}) cannot be converted ({reason(error)})"
        ) from error


def _pixels(frame: VideoFrame, pixel_format: str) -> Pixels:
    from av.video.reformatter import ColorRange

    if pixel_format == "gray" and frame.format.name == "yuv420p" and frame.color_range != ColorRange.JPEG:
        return _full_range_luma(frame)
    with _told(frame):
        return np.asarray(frame.reformat(format=pixel_format, threads=1).to_ndarray(), dtype=np.uint8)


# Luma of video lies between 16 and 235 (ITU-R BT.601 and BT.709).
_FULL_RANGE = np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)


def _full_range_luma(frame: VideoFrame) -> Pixels:
    """The luma plane of a yuv420p frame, stretched to 0 to 255: uint8 [H,W]."""
    import cv2

    plane: Any = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
    # Five times faster than indexing the table with the picture (measured).
    return np.asarray(cv2.LUT(rows, _FULL_RANGE), dtype=np.uint8)

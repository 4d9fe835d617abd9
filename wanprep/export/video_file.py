"""Writes frames as an MP4 file while they come, in memory that does not grow with them."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
import numpy.typing as npt

from wanprep.media.geometry import Size

# libx264's scale, 0 to 51: thin coloured lines lose their colour first (measured in docs/export.md).
_QUALITY = {"crf": "10", "preset": "fast", "rc-lookahead": "10"}
_EXACT = {"qp": "0", "preset": "fast"}
_THREADS = 2  # each holds frames of its own, and a clip has up to four files
_LIMITED_RANGE, _BT601 = (
    1,
    5,
)  # AVCOL_RANGE_MPEG, AVCOL_SPC_BT470BG: what swscale converts to and readers assume
_LARGEST_DENOMINATOR = 1001  # of a frame rate: 30000/1001 and its like are exact


class VideoFile:
    """H.264, 4:2:0, constant rate, no sound: what decord, OpenCV and PyAV read alike.

    `exact` keeps luma as it is: grey pictures come back to the bit. Width and height are even. Use as a context
    manager; the file is complete on leaving.
    """

    def __init__(self, path: Path, size: Size, fps: float, *, exact: bool = False) -> None:
        self._rate = Fraction(fps).limit_denominator(_LARGEST_DENOMINATOR)
        self._stack = contextlib.ExitStack()
        # The prefix keeps names such as "a:b.mp4" from being read as an ffmpeg protocol.
        self._container = self._stack.enter_context(
            av.open(f"file:{path}", "w", format="mp4", options={"movflags": "+faststart"})
        )
        self._stream = self._container.add_stream(
            "libx264", rate=self._rate, options=_EXACT if exact else _QUALITY
        )
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.thread_count = _THREADS
        self._stream.codec_context.color_range = _LIMITED_RANGE
        self._stream.codec_context.colorspace = _BT601
        self._size = size
        self.frames = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if error is None:
                self._container.mux(self._stream.encode(None))

    def add(self, frames_THWC: npt.NDArray[np.uint8]) -> None:
        """Appends pictures, uint8 [T, height, width, 3]."""
        for picture_HWC in frames_THWC:
            if picture_HWC.shape != (self._size[1], self._size[0], 3):
                raise ValueError(f"a picture of {picture_HWC.shape} for a video of {self._size}")
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture_HWC), format="rgb24")
            frame.pts, frame.time_base = self.frames, 1 / self._rate
            self._container.mux(self._stream.encode(frame))
            self.frames += 1

"""Generated frames as an MP4 file, written while they come."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from wanprep.errors import WanprepError
from wanprep.media.source import reason
from wanprep_infer.output.soundtrack import Sound, Soundtrack
from wanprep_infer.output.whole_file import writing

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import OutputContainer

__all__ = ["QUALITY", "Sound", "VideoFile"]

#: libx264's crf that Wan2.2's official writer asks for (quality 8 of 10 by imageio's scale).
QUALITY = 10
_SIDE = 16  # pixels that sides are multiples of: 8 by the VAE, 2 by the transformer's patches
_BT709 = 1  # AVCOL_PRI_BT709, AVCOL_TRC_BT709, AVCOL_SPC_BT709 alike
_LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_LARGEST_DENOMINATOR = 1001  # of a rate: 30000/1001 and its like are exact
_LEAST_TICKS = 10_000  # a second, by which the file counts its length
_THREADS = 2  # each holds frames of its own, and the generator needs the others


class VideoFile:
    """H.264 in 4:2:0, BT.709, at a constant rate, with AAC where there is sound; the index comes first.

    Use as a context manager. The file has another name beside its own until it is complete and on the disk, and
    after an error nothing is left. What is held of frames and sound does not grow with them.
    """

    def __init__(
        self,
        path: Path,
        *,
        fps: Fraction | float,
        width: int,
        height: int,
        sound: Sound | None = None,
        quality: int = QUALITY,
    ) -> None:
        """Nothing is written before the context is entered.

        Args:
            path: of the file; one that is there is replaced.
            fps: frames a second, 1 to 1000; of a float the nearest fraction, such as 30000/1001.
            width: pixels, a multiple of 16.
            height: pixels, a multiple of 16.
            sound: what is heard; cut to the frames' length.
            quality: libx264's crf, 0 (lossless luma) to 51; 6 more halve the file.

        Raises:
            WanprepError: another size, rate or quality.
        """
        if width <= 0 or height <= 0 or width % _SIDE or height % _SIDE:
            raise WanprepError(
                f"{path}: {width}x{height} is no size of Wan's: sides are multiples of {_SIDE} pixels"
            )
        if not (math.isfinite(fps) and 1 <= fps <= 1000):
            raise WanprepError(f"{path}: a video has 1 to 1000 frames a second, not {float(fps):g}")
        if not 0 <= quality <= 51:
            raise WanprepError(f"{path}: quality is 0 (best) to 51, not {quality}")
        self.path = path
        self.frames = 0
        self._rate = Fraction(fps).limit_denominator(_LARGEST_DENOMINATOR)
        self._size = (width, height)
        self._sound, self._quality = sound, quality
        self._track: Soundtrack | None = None
        self._stack = contextlib.ExitStack()

    @property
    def has_sound(self) -> bool:
        """Whether the file has an audio stream: not where nothing is left of the sound that was asked for."""
        return self._track is not None and self._track.is_heard

    @property
    def sound_cut_short(self) -> str | None:
        """Why the sound ends before its end, should its file be damaged in the middle."""
        return None if self._track is None else self._track.cut_short

    def __enter__(self) -> Self:
        """Opens the file and its sound.

        Raises:
            WanprepError: the place cannot be written, or the sound not be read.
        """
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(writing(self.path))
            self._container = stack.enter_context(self._opened(temporary))
            with self._told():
                self._stream = self._add_stream()
                if self._sound is not None:
                    self._track = Soundtrack(self._sound, self._container)
                    stack.callback(self._track.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Completes the file, or removes it after an error.

        Raises:
            WanprepError: the disk is full, or no frame was added.
        """
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            if not self.frames:
                raise WanprepError(f"{self.path}: no frame was generated for it")
            with self._told():
                self._container.mux(self._stream.encode(None))
                if self._track is not None:
                    self._track.finish(self.frames / self._rate)

    def add(self, frames_THWC: npt.NDArray[np.uint8]) -> None:
        """Appends pictures, uint8 [T, height, width, 3].

        Raises:
            WanprepError: the disk is full, or the encoder fails.
            ValueError: pictures of another shape or type.
        """
        width, height = self._size
        if frames_THWC.dtype != np.uint8 or frames_THWC.shape[1:] != (height, width, 3):
            raise ValueError(f"{frames_THWC.dtype} {frames_THWC.shape} for a video of {width}x{height}")
        with self._told():
            for frame_HWC in frames_THWC:
                self._container.mux(self._stream.encode(self._picture(frame_HWC)))
                self.frames += 1
                if self._track is not None:
                    self._track.advance(self.frames / self._rate)

    def _picture(self, frame_HWC: npt.NDArray[np.uint8]) -> VideoFrame:
        from av import VideoFrame

        picture = self._reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24"),
            format="yuv420p",
            src_colorspace=_BT709,
            dst_colorspace=_BT709,
            src_color_range=_FULL_RANGE,
            dst_color_range=_LIMITED_RANGE,
            interpolation=self._rounding,
        )
        picture.pts, picture.time_base, picture.duration = self.frames, 1 / self._rate, 1
        return picture

    def _add_stream(self) -> VideoStream:
        from av.video.reformatter import Interpolation, VideoReformatter

        self._reformatter = VideoReformatter()
        # The faster conversion shifts colours by a sixth of a level, and takes every second pixel's.
        self._rounding = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP
        options = {"crf": str(self._quality), "rc-lookahead": "20"}
        stream = self._container.add_stream("libx264", rate=self._rate, options=options)
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.thread_count = _THREADS
        # Readers assume BT.601 or 709 by size where nothing is said, and Wan's sizes lie on both sides.
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = _LIMITED_RANGE
        return stream

    @contextlib.contextmanager
    def _opened(self, temporary: Path) -> Iterator[OutputContainer]:
        import av

        # Milliseconds, which FFmpeg takes, would round the length of the pictures.
        ticks = self._rate.numerator * math.ceil(_LEAST_TICKS / self._rate.numerator)
        options = {"movflags": "+faststart", "movie_timescale": str(ticks)}
        with self._told():
            # The prefix keeps names such as "a:b.mp4" from being read as an ffmpeg protocol.
            container = av.open(f"file:{temporary}", "w", format="mp4", options=options)
        try:
            yield container
        except BaseException:
            with contextlib.suppress(Exception):  # the first error is the one to tell
                container.close()
            raise
        with self._told():
            container.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the disk and of the encoder in one line."""
        import av

        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise WanprepError(f"{self.path} cannot be written ({reason(error)})") from error

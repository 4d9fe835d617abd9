"""Decodes a clip's frames in windows bounded in bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from schemas import ClipRecord, MediaRecord
from wanprep.errors import MediaError
from wanprep.media.probe import video_stream
from wanprep.media.source import open_media, reason
from wanprep.media.window import Window
from wanprep.timeline import Timeline
from wanprep.timing import Timings

if TYPE_CHECKING:
    from av import VideoFrame

WINDOW_BYTES = 48 << 20  # decoded source pictures held at a time; their scaled copies come on top
_MAX_WINDOW = 16  # frames; more gains nothing in speed
_NO_TIMESTAMPS = 0x80  # AVFMT_NOTIMESTAMPS, libavformat/avformat.h
_SEEK_MARGIN = 1.0  # seconds before a clip's start at which decoding begins, at the keyframe before


def timeline_of(clip: ClipRecord) -> Timeline:
    """The clip's timeline.

    Raises:
        MediaError: the clip has no video.
    """
    if not clip.fps or not clip.frames:
        raise MediaError("the clip has no video")
    return Timeline(fps=clip.fps, frames=clip.frames, start=clip.start)


def window_frames(width: int, height: int, budget: int = WINDOW_BYTES) -> int:
    """Frames of a window so that its decoded pictures (4:2:0, 1.5 bytes a pixel) stay within `budget` bytes."""
    return max(1, min(_MAX_WINDOW, budget // max(1, width * height * 3 // 2)))


def read_windows(
    clip: ClipRecord, media: MediaRecord, *, timings: Timings | None = None, budget: int = WINDOW_BYTES
) -> Iterator[Window]:
    """The clip's frames in order, as windows. Exactly `clip.frames` frames come, or it raises.

    `budget` is the bytes of decoded pictures that may be held; more than `WINDOW_BYTES` makes windows no longer,
    and lets larger single frames through.

    Raises:
        MediaError: the video does not decode to its promised end, or one frame of it is over the budget.
    """
    timings = timings or Timings()
    timeline = timeline_of(clip)
    width, height = media.width or 0, media.height or 0
    if (one := width * height * 3 // 2) > budget:
        raise MediaError(
            f"a frame of {width}x{height} takes {one >> 20} MiB decoded, and a worker may hold {budget >> 20} MiB "
            "here: use fewer workers or a machine with more memory"
        )
    size = window_frames(width, height, min(budget, WINDOW_BYTES))
    frames: list[VideoFrame] = []
    done = 0
    # The probe counts a median step after the last frame, and a median is at most twice the mean.
    hold = 2 / (media.fps or 25.0)
    with closing(timeline.select(_timed_frames(media, timeline.start), hold)) as selected:
        while done < timeline.frames:
            with timings.span("decode"):
                while len(frames) < min(size, timeline.frames - done):
                    frame = next(selected, None)
                    if frame is None:
                        shown = done + len(frames)
                        raise MediaError(
                            f"truncated: decoding ends after {shown} of {timeline.frames} frames"
                        )
                    frames.append(frame)
            yield Window(
                done, tuple(frames), width=width, height=height, rotation=media.rotation or 0, timings=timings
            )
            done += len(frames)
            frames = []


def _timed_frames(media: MediaRecord, start: float) -> Iterator[tuple[float, VideoFrame]]:
    """Decoded frames with their seconds after the first frame, from the keyframe before `start`."""
    import av

    with open_media(media.uri) as container:
        stream = video_stream(container)
        if stream is None:
            raise MediaError("has no video stream")
        # One decoder thread: workers run side by side, and a second thread costs 8 to 29 % more CPU (measured).
        stream.codec_context.thread_count = 1
        first = media.first_time or 0.0
        base = float(stream.time_base or 0) or 1.0
        turned = (media.rotation or 0) in (90, 270)
        size = (media.height, media.width) if turned else (media.width, media.height)
        count = 0
        last = -1.0
        try:
            # Raw streams carry no timestamps to seek: they are decoded from their beginning.
            if start > _SEEK_MARGIN and not int(container.format.flags) & _NO_TIMESTAMPS:
                container.seek(int((first + start - _SEEK_MARGIN) / base), stream=stream, backward=True)
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    raise MediaError(f"damaged: the frame at {max(last, 0.0):.2f} s is corrupt")
                if (frame.width, frame.height) != size:
                    raise MediaError(
                        f"changes its size from {size[0]}x{size[1]} to {frame.width}x{frame.height} after "
                        f"{max(last, 0.0):.2f} s; encode it again at one size"
                    )
                time = frame.pts * base - first if frame.pts is not None else count / (media.fps or 25.0)
                count += 1
                if time <= last:
                    continue
                last = time
                yield time, frame
        except av.FFmpegError as error:
            raise MediaError(
                f"damaged: decoding fails after {max(last, 0.0):.2f} s ({reason(error)})"
            ) from error

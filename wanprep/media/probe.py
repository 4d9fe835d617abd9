"""What is in a media file, from its packets and one decoded frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from wanprep.errors import MediaError
from wanprep.media.demux import MAX_PIXELS
from wanprep.media.ebml import lacks_end
from wanprep.media.source import open_media, reason

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

T = TypeVar("T")

_VARIABLE = 0.02  # share of frame steps that may differ by half a step before a rate counts as variable
_MISSING = 0.02  # share of the frames that a container promises that may be missing
_HEADER_SLACK = 0.5  # seconds by which a header may be long
_CUT_SLACK = 0.1  # seconds; headers count the last packet of sound or of pictures, which tell no length
MAX_SIDE = 16_384  # pixels; larger pictures are damage or attack
_MAX_RATE = 1000.0  # frames per second; cameras that are faster write slow motion
_MAX_STEP = 24 * 3600.0  # seconds from one frame to the next; a longer one is damage


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """A video stream as a decoder shows it. Times in seconds, sizes in pixels with rotation applied."""

    width: int
    height: int
    rotation: int
    frames: int
    fps: float
    variable_rate: bool
    first_time: float
    seconds: float
    codec: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioInfo:
    codec: str
    rate: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaInfo:
    video: VideoInfo | None
    audio: AudioInfo | None


class _Shown(NamedTuple):
    """Size as shown, the rotation in degrees that makes the picture upright, and the time in the stream's ticks."""

    width: int
    height: int
    rotation: int
    time: int | None


def probe(uri: str) -> MediaInfo:
    """Reads all packets once, decodes the first frame.

    Raises:
        MediaError: no media, no stream, truncated, or the first frame does not decode.
    """
    shown = _guarded(uri, "its first frame does not decode", _first_frame)
    cut_off = lacks_end(uri)
    return _guarded(uri, "it cannot be read to its end", lambda container: _probe(container, shown, cut_off))


def _guarded(uri: str, what: str, look: Callable[[InputContainer], T]) -> T:
    import av

    try:
        with open_media(uri) as container:
            return look(container)
    except (av.FFmpegError, ValueError, OverflowError) as error:
        # What FFmpeg says of a picture over its limit is no more than this.
        large = f", or is over {MAX_PIXELS:,} pixels" if isinstance(error, av.ArgumentError) else ""
        raise MediaError(f"damaged: {what} ({reason(error)}{large})") from error


def _probe(container: InputContainer, shown: _Shown | None, cut_off: bool) -> MediaInfo:
    videos = [stream] if (stream := video_stream(container)) else []
    sounds = list(container.streams.audio)
    if not videos and not sounds:
        raise MediaError("has neither a video nor an audio stream, or is cut off before them")
    streams = [*videos[:1], *sounds[:1]]
    times: dict[int, list[int]] = {s.index: [] for s in streams}
    last_duration = dict.fromkeys(times, 0)
    untimed = 0
    for packet in container.demux(streams):
        if packet.size == 0 or packet.is_discard:
            continue
        if packet.is_corrupt:
            raise MediaError(
                f"damaged: the {packet.stream.type} packet near {_seconds(packet):.2f} s is corrupt"
            )
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None:
            untimed += packet.stream is streams[0]
            continue
        times[packet.stream.index].append(time)
        last_duration[packet.stream.index] = packet.duration or 0
    ends = [
        float((max(times[s.index]) + last_duration[s.index]) * (s.time_base or Fraction(1)))
        for s in streams
        if times[s.index]
    ]
    _check_matroska_end(container, max(ends, default=0.0), len(streams), cut_off)
    video = _video_info(videos[0], shown, times[videos[0].index], untimed) if videos and shown else None
    audio = None
    if sounds and times[sounds[0].index]:
        sound = sounds[0]
        ticks = max(times[sound.index]) - min(times[sound.index]) + last_duration[sound.index]
        audio = AudioInfo(
            # A codec that this build does not know must not spoil the pictures; reading the sound tells.
            codec=sound.codec_context.name if sound.codec_context else "unknown",
            rate=sound.codec_context.sample_rate if sound.codec_context else 0,
            seconds=float(ticks * (sound.time_base or Fraction(1))),
        )
    if video is None and audio is None:
        raise MediaError("holds no packets")
    return MediaInfo(video=video, audio=audio)


def _video_info(stream: VideoStream, shown: _Shown, ticks: list[int], untimed: int) -> VideoInfo:
    count = len(ticks) or untimed
    if count == 0:
        raise MediaError("has a video stream without frames")
    # An edit list hides frames, and shortens the duration by as much.
    whole = bool(ticks) and bool(stream.duration) and _span(ticks) >= (stream.duration or 0) * (1 - _MISSING)
    if stream.frames and count < stream.frames * (1 - _MISSING) and not whole:
        raise MediaError(f"truncated: the container promises {stream.frames} frames, the file holds {count}")
    if shown.time is not None:
        # Recordings that begin between two keyframes show nothing before the second.
        ticks = [tick for tick in ticks if tick >= shown.time] or ticks
    average = float(stream.average_rate or stream.guessed_rate or 0)
    base = float(stream.time_base or Fraction(1, 90_000))
    if ticks:
        instants = np.unique(np.array(ticks, dtype=np.int64)) * base
        steps = np.diff(instants)
        if len(steps) and steps.max() > _MAX_STEP:
            raise MediaError(f"damaged: timestamps jump by {steps.max():,.0f} s between two frames")
        if not len(steps) and average > _MAX_RATE:
            average = 0.0  # a single picture has no rate, and some writers put the clock's there
        step = float(np.median(steps)) if len(steps) else 1 / (average or 25.0)
        variable = bool(len(steps)) and float(np.mean(np.abs(steps - step) > step / 2 + base)) > _VARIABLE
        first, seconds = float(instants[0]), float(instants[-1] - instants[0]) + step
        # The header's rate is the exact one when it agrees with the timestamps.
        measured = len(instants) / seconds
        fps = average if average and abs(average - measured) <= 0.01 * measured else measured
        count = len(instants)
    else:
        fps = average or 25.0
        first, seconds, variable = 0.0, count / fps, False
    if not (np.isfinite(fps) and 0 < fps <= _MAX_RATE):
        raise MediaError(f"damaged: timestamps give {fps:,.4g} frames per second, over {_MAX_RATE:,.0f}")
    return VideoInfo(
        width=shown.width,
        height=shown.height,
        rotation=shown.rotation,
        frames=count,
        fps=fps,
        variable_rate=variable,
        first_time=first,
        seconds=seconds,
        codec=stream.codec_context.name,
    )


def _span(ticks: list[int]) -> float:
    """Ticks from the first frame's start to the last one's end."""
    span = max(ticks) - min(ticks)
    return span + span / max(len(ticks) - 1, 1)


def _check_matroska_end(container: InputContainer, end: float, streams: int, cut_off: bool) -> None:
    """Matroska counts no frames; what tells a file that was cut off is the length in its header.

    Raises:
        MediaError: all streams were read and none comes near it.
    """
    promised = (container.duration or 0) / 1e6
    if "matroska" not in container.format.name or streams != len(container.streams):
        return
    # Headers may be a little long, but not of a file that lacks its end.
    slack = _CUT_SLACK if cut_off else promised * _MISSING + _HEADER_SLACK
    if end < promised - slack:
        raise MediaError(f"truncated: the container promises {promised:.2f} s, the file holds {end:.2f} s")


def _first_frame(container: InputContainer) -> _Shown | None:
    """The first frame that decodes; None: no video."""
    stream = video_stream(container)
    if stream is None:
        return None
    _check_size(stream.codec_context.width, stream.codec_context.height)
    for frame in container.decode(stream):
        # The header may have named no size, or another.
        _check_size(frame.width, frame.height)
        rotation = frame.rotation % 360
        if rotation % 90:
            raise MediaError(f"is rotated by {rotation} degrees: only quarter turns are supported")
        turned = rotation in (90, 270)
        size = (frame.height, frame.width) if turned else (frame.width, frame.height)
        return _Shown(*size, rotation, frame.pts)
    raise MediaError("no frame of the video stream decodes")


def _check_size(width: int, height: int) -> None:
    if max(width, height) > MAX_SIDE:
        raise MediaError(f"is {width}x{height}: over {MAX_SIDE:,} pixels wide or high")
    if width * height > MAX_PIXELS:
        raise MediaError(f"is {width}x{height}: over {MAX_PIXELS // 1_000_000} million pixels")


def video_stream(container: InputContainer) -> VideoStream | None:
    """The first video stream that a player shows: a cover picture is one too, but not that."""
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if stream.codec_context is None:
                raise MediaError("has a video stream in a format that this PyAV build cannot decode")
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            return stream
    return None


def _seconds(packet: Any) -> float:
    time = packet.pts if packet.pts is not None else packet.dts
    return float(time * packet.time_base) if time is not None else 0.0

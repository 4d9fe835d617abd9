"""What is in a media file, from its packets and one decoded frame."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from wanprep.errors import MediaError
from wanprep.media.source import open_media, reason

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_VARIABLE = 0.02  # share of frame steps that may differ by half a step before a rate counts as variable
_MISSING = 0.02  # share of the frames that a container promises that may be missing
_HEADER_SLACK = 0.5  # seconds by which a header may be long
_MAX_SIDE = 16_384  # pixels; larger pictures are damage or attack


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


def probe(uri: str) -> MediaInfo:
    """Reads all packets once, decodes the first frame.

    Raises:
        MediaError: no media, no stream, truncated, or the first frame does not decode.
    """
    import av

    try:
        with open_media(uri) as container:
            shown = _first_frame(container)
        with open_media(uri) as container:
            return _probe(container, shown)
    except (av.FFmpegError, ValueError, OverflowError) as error:
        raise MediaError(f"damaged: {reason(error)}") from error


def _probe(container: InputContainer, shown: tuple[int, int, int] | None) -> MediaInfo:
    videos = [stream] if (stream := video_stream(container)) else []
    sounds = list(container.streams.audio)
    if not videos and not sounds:
        raise MediaError("has neither a video nor an audio stream")
    streams = [*videos[:1], *sounds[:1]]
    times: dict[int, list[int]] = {s.index: [] for s in streams}
    last_duration = dict.fromkeys(times, 0)
    untimed = 0
    for packet in container.demux(streams):
        if packet.size == 0 or packet.is_discard:
            continue
        if packet.is_corrupt:
            raise MediaError(
                f"damaged: a {packet.stream.type} packet near {_seconds(packet):.2f} s is corrupt"
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
    _check_matroska_end(container, max(ends, default=0.0), len(streams))
    video = _video_info(videos[0], shown, times[videos[0].index], untimed) if videos and shown else None
    audio = None
    if sounds and times[sounds[0].index]:
        sound = sounds[0]
        ticks = max(times[sound.index]) - min(times[sound.index]) + last_duration[sound.index]
        audio = AudioInfo(
            codec=sound.codec_context.name,
            rate=sound.codec_context.sample_rate,
            seconds=float(ticks * (sound.time_base or Fraction(1))),
        )
    if video is None and audio is None:
        raise MediaError("holds no packets")
    return MediaInfo(video=video, audio=audio)


def _video_info(
    stream: VideoStream, shown: tuple[int, int, int], ticks: list[int], untimed: int
) -> VideoInfo:
    count = len(ticks) or untimed
    if count == 0:
        raise MediaError("has a video stream without frames")
    # An edit list hides frames, and shortens the duration by as much.
    whole = bool(ticks) and bool(stream.duration) and _span(ticks) >= (stream.duration or 0) * (1 - _MISSING)
    if stream.frames and count < stream.frames * (1 - _MISSING) and not whole:
        raise MediaError(f"truncated: the container promises {stream.frames} frames, the file holds {count}")
    width, height, rotation = shown
    average = float(stream.average_rate or stream.guessed_rate or 0)
    base = float(stream.time_base or Fraction(1, 90_000))
    if ticks:
        instants = np.unique(np.array(ticks, dtype=np.int64)) * base
        steps = np.diff(instants)
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
    if not (np.isfinite(fps) and 0 < fps <= 1000):
        raise MediaError(f"damaged: timestamps give {fps:.3g} frames per second")
    return VideoInfo(
        width=width,
        height=height,
        rotation=rotation,
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


def _check_matroska_end(container: InputContainer, end: float, streams: int) -> None:
    """Matroska counts no frames; what tells a file that was cut off is the length in its header.

    Raises:
        MediaError: all streams were read and none comes near it.
    """
    promised = (container.duration or 0) / 1e6
    if "matroska" not in container.format.name or streams != len(container.streams):
        return
    if end < promised * (1 - _MISSING) - _HEADER_SLACK:
        raise MediaError(f"truncated: the container promises {promised:.2f} s, the file holds {end:.2f} s")


def _first_frame(container: InputContainer) -> tuple[int, int, int] | None:
    """Width and height as shown, and the rotation in degrees that makes the picture upright; None: no video."""
    stream = video_stream(container)
    if stream is None:
        return None
    if max(stream.codec_context.width, stream.codec_context.height) > _MAX_SIDE:
        raise MediaError(
            f"is {stream.codec_context.width}x{stream.codec_context.height}: over {_MAX_SIDE} pixels"
        )
    for frame in container.decode(stream):
        rotation = frame.rotation % 360
        if rotation % 90:
            raise MediaError(f"is rotated by {rotation} degrees: only quarter turns are supported")
        turned = rotation in (90, 270)
        return (frame.height, frame.width, rotation) if turned else (frame.width, frame.height, rotation)
    raise MediaError("no frame of the video stream decodes")


def video_stream(container: InputContainer) -> VideoStream | None:
    """The first video stream that a player shows: a cover picture is one too, but not that."""
    for stream in container.streams.video:
        if "attached_pic" not in str(stream.disposition).lower():
            if stream.codec_context is None:
                raise MediaError("has a video stream in a format that this PyAV build cannot decode")
            return stream
    return None


def _seconds(packet: Any) -> float:
    time = packet.pts if packet.pts is not None else packet.dts
    return float(time * packet.time_base) if time is not None else 0.0

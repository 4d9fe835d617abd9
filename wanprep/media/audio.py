"""Decodes sound to mono or stereo samples on an exact time grid."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from wanprep.errors import MediaError
from wanprep.media.source import open_media, reason

if TYPE_CHECKING:
    from av import AudioFrame, AudioResampler
    from av.audio.stream import AudioStream
    from av.container import InputContainer

Samples: TypeAlias = npt.NDArray[np.float32]
TimedFrame: TypeAlias = "tuple[float | None, AudioFrame]"

# Timestamps may be off by this much before samples are moved: lip sync errors under 45 ms are not noticed
# (ITU-R BT.1359), and containers round timestamps to milliseconds.
_TOLERANCE = 0.04  # seconds
# Decoders of MP3 and AAC need a few frames before the one wanted, Opus 80 ms.
_SEEK_MARGIN = 1.0  # seconds
_MAX_HOLE = 24 * 3600.0  # seconds; a longer one is damage
# Samples per second that recordings have, with room on both sides: resampling from 1 Hz would fill the memory.
_LEAST_RATE, _MOST_RATE = 1_000, 1_000_000
_SILENCE = 16_384  # samples of silence given at a time


def read_audio(
    uri: str,
    *,
    rate: int = 16_000,
    start: float = 0.0,
    seconds: float | None = None,
    origin: float | None = None,
    stereo: bool = False,
) -> Generator[Samples, None, None]:
    """The first audio stream as float32 [N] mono blocks of any length, full scale -1 to 1.

    Sample n sounds at `origin + start + n / rate` seconds on the container's clock. `origin` is the container
    time that counts as zero: the first video frame's, to hear a video's sound in step with its pictures; None
    takes the first sample's. What sounds earlier is left out, and silence fills the time before the sound
    starts and holes in it. With `seconds`, exactly `round(seconds * rate)` samples come, silence after the
    sound's end. Channels are averaged: mono never clips, and a mono recording in two channels keeps its
    level, to which FFmpeg's own down-mix adds 3 dB. `stereo` gives blocks [N, 2] instead: left and right, a mono
    recording in both, more channels mixed down by FFmpeg.

    Raises:
        MediaError: no file, no sound in it, or the sound does not decode.
    """
    wanted = None if seconds is None else max(0, round(seconds * rate))
    given = 0
    with closing(_placed(uri, rate, start, origin, stereo)) as blocks:
        for block in blocks:
            if wanted is not None:
                block = block[: wanted - given]
            given += len(block)
            if len(block):
                yield block
            if wanted is not None and given >= wanted:
                return
    if wanted is not None:
        yield from _silence(wanted - given, stereo)


def _placed(
    uri: str, rate: int, start: float, origin: float | None, stereo: bool
) -> Generator[Samples, None, None]:
    """Blocks that follow each other without a hole, the first sample at `origin + start`."""
    given = 0
    with closing(_runs(uri, rate, start, origin, stereo)) as runs:
        for position, block in runs:
            hole = position - given
            if hole > _MAX_HOLE * rate:
                raise MediaError(f"damaged: the sound's timestamps jump by {hole / rate:.0f} s")
            for silence in _silence(hole, stereo):
                given += len(silence)
                yield silence
            block = block[max(0, -hole) :]
            given += len(block)
            yield block


def _silence(count: int, stereo: bool) -> Iterator[Samples]:
    for done in range(0, count, _SILENCE):
        samples = min(_SILENCE, count - done)
        yield np.zeros((samples, 2) if stereo else samples, np.float32)


def _runs(
    uri: str, rate: int, start: float, origin: float | None, stereo: bool
) -> Generator[tuple[int, Samples], None, None]:
    """Resampled blocks and the output sample at which each begins (before the first one wanted: negative).

    A run is sound without a hole or a change of format. It has one resampler, and its clock counts samples,
    which is finer than the container's timestamps.
    """
    resampler: AudioResampler | None = None
    sound = ("", "", 0)
    begin, count = 0.0, 0  # of the run: seconds after the first sample wanted, and input samples in it
    position = 0  # of the next output sample
    with closing(_timed_frames(uri, start, origin)) as frames:
        for time, frame in frames:
            clock = begin + count / (sound[2] or 1)
            this_sound = (frame.format.name, frame.layout.name, frame.sample_rate)
            moved = time is not None and abs(clock - time) > _TOLERANCE
            if resampler is None or moved or this_sound != sound:
                if resampler is not None:
                    for block in _mixed(resampler, None, stereo):
                        yield position, block
                        position += len(block)
                begin, count, sound = clock if time is None else time, 0, this_sound
                position = round(begin * rate)
                resampler = _resampler(rate, stereo and frame.layout.nb_channels > 1)
            count += frame.samples
            for block in _mixed(resampler, frame, stereo):
                yield position, block
                position += len(block)
    if resampler is not None:
        for block in _mixed(resampler, None, stereo):
            yield position, block
            position += len(block)


def _resampler(rate: int, stereo: bool) -> AudioResampler:
    from av import AudioResampler

    return AudioResampler(format="fltp", rate=rate, layout="stereo" if stereo else None)


def _mixed(resampler: AudioResampler, frame: AudioFrame | None, stereo: bool) -> Iterator[Samples]:
    """What the resampler gives for a frame, or at the end for None."""
    if frame is not None:
        # The run's own clock places samples: FFmpeg must not correct for rounded timestamps.
        frame.pts = None
    for resampled in _resampled(resampler, frame):
        planes_CN = resampled.to_ndarray()
        if planes_CN.shape[1]:
            if stereo:
                mixed = np.ascontiguousarray(
                    np.broadcast_to(planes_CN, (2, planes_CN.shape[1])).T, np.float32
                )
            else:
                mixed = planes_CN.mean(axis=0, dtype=np.float32)
            # Floating point recordings can hold anything, and one such sample spoils every mean after it.
            if not np.isfinite(mixed).all():
                raise MediaError("damaged: the sound has samples that are not finite numbers")
            yield mixed


def _resampled(resampler: AudioResampler, frame: AudioFrame | None) -> list[AudioFrame]:
    import av

    try:
        return resampler.resample(frame)
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(f"damaged: a part of the sound cannot be resampled ({reason(error)})") from error


def _timed_frames(uri: str, start: float, origin: float | None) -> Generator[TimedFrame, None, None]:
    """Decoded frames from `start` or a little before it, with their seconds after `origin + start`."""
    with open_media(uri) as container:
        frames = _decoded(container)
        first = next(frames, None)
        if first is None:
            raise MediaError("no frame of the audio stream decodes")
        begin = first[0]
        zero = (origin if origin is not None else begin or 0.0) + start
        seek = zero - _SEEK_MARGIN
        if begin is None or seek <= begin:
            yield from _counted_from(zero, first, frames)
            return
    with open_media(uri) as container:
        frames = _decoded(container, seek)
        first = next(frames, None)
        # Some formats find a place only roughly: a place after the one wanted would lose sound.
        if first is None or (first[0] is not None and first[0] <= zero):
            yield from _counted_from(zero, first, frames)
            return
    with open_media(uri) as container:
        yield from _counted_from(zero, None, _decoded(container))


def _counted_from(
    zero: float, first: TimedFrame | None, frames: Iterator[TimedFrame]
) -> Iterator[TimedFrame]:
    for time, frame in itertools.chain([first] if first else [], frames):
        yield None if time is None else time - zero, frame


def _audio_stream(container: InputContainer) -> AudioStream:
    if not container.streams.audio:
        raise MediaError("has no audio stream")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise MediaError("has an audio stream in a format that this PyAV build cannot decode")
    stream.codec_context.thread_count = 1
    return stream


def _decoded(container: InputContainer, seek: float | None = None) -> Iterator[TimedFrame]:
    """Frames with their container time in seconds, from the start or from near `seek`."""
    import av

    stream = _audio_stream(container)
    reached = 0.0
    try:
        if seek is not None and stream.time_base:
            container.seek(int(seek / stream.time_base), stream=stream, backward=True)
        for frame in container.decode(stream):
            if not frame.samples:
                continue
            if not _LEAST_RATE <= frame.sample_rate <= _MOST_RATE:
                raise MediaError(f"damaged: a part of the sound has {frame.sample_rate:,} samples per second")
            reached = frame.time if frame.time is not None else reached
            yield frame.time, frame
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(
            f"damaged: the sound stops decoding near {reached:.2f} s ({reason(error)})"
        ) from error

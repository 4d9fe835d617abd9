"""The sound of an output file: read lazily, coded as AAC, cut to the video's length."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from wanprep.errors import MediaError, WanprepError
from wanprep.media.audio import Samples, read_audio
from wanprep.media.probe import video_stream
from wanprep.media.source import open_media

if TYPE_CHECKING:
    from av import AudioStream
    from av.container import OutputContainer

_log = logging.getLogger(__name__)

BIT_RATE = 192_000  # bits per second, of Wan2.2's official muxing
_RATES = (44_100, 48_000)  # Hz, that every player takes; sound of another rate is resampled to the last
_BLOCK = 1024  # samples; a frame of AAC


@dataclass(frozen=True)
class Sound:
    """What is heard with a video: a part of a file, and where in the video it begins."""

    uri: str  # a sound file, or a video with sound: path or address
    start: float  # seconds of the file; of a video, after its first picture
    seconds: float | None  # that are taken, silence after the file's end; None: to its end
    delay: float = 0.0  # seconds of silence before it; negative: so much of it is left out


class Soundtrack:
    """The audio stream of an MP4 file that is being written; without a stream where nothing of the sound is heard."""

    def __init__(self, sound: Sound, container: OutputContainer) -> None:
        """Adds the stream; nothing has been muxed into the container yet.

        Raises:
            WanprepError: the file has no sound that can be read.
        """
        self.cut_short: str | None = None  # why the sound ended early, should its file break in the middle
        self._uri = sound.uri
        self._container = container
        left_out = max(0.0, -sound.delay)
        seconds = None if sound.seconds is None else max(0.0, sound.seconds - left_out)
        try:
            source_rate, channels, origin = _facts(sound.uri)
            self._rate = source_rate if source_rate in _RATES else _RATES[-1]
            self._stereo = channels > 1
            self._blocks = read_audio(
                sound.uri,
                rate=self._rate,
                start=sound.start + left_out,
                seconds=seconds,
                origin=origin,
                stereo=self._stereo,
            )
            # What cannot be read at all is better known before hours of generation.
            self._held: Samples | None = next(self._blocks, None)
        except MediaError as error:
            raise WanprepError(f"sound {sound.uri}: {error}") from error
        self._silence = max(0, round(sound.delay * self._rate))  # samples still to be given before the sound
        self._given = 0  # samples
        self._stream: AudioStream | None = None
        if self._held is not None:
            layout = "stereo" if self._stereo else "mono"
            self._stream = container.add_stream("aac", rate=self._rate, layout=layout)
            self._stream.bit_rate = BIT_RATE

    @property
    def is_heard(self) -> bool:
        """Whether the file has an audio stream."""
        return self._stream is not None

    def advance(self, seconds: Fraction) -> None:
        """Muxes the sound that belongs to the first `seconds` of the video, in whole AAC frames."""
        self._give(int(seconds * self._rate) // _BLOCK * _BLOCK)

    def finish(self, seconds: Fraction) -> None:
        """Muxes what is left of the first `seconds`, the video's length, and ends the stream."""
        self._give(int(seconds * self._rate))
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))

    def close(self) -> None:
        """Closes the sound's file."""
        self._blocks.close()

    def _give(self, until: int) -> None:
        from av import AudioFrame

        while self._stream is not None and self._given < until:
            samples = self._take(min(_BLOCK, until - self._given))
            if samples is None:
                return
            planes_CN = np.ascontiguousarray(np.clip(samples, -1, 1).reshape(len(samples), -1).T)
            frame = AudioFrame.from_ndarray(planes_CN, format="fltp", layout=self._stream.layout.name)
            frame.sample_rate, frame.pts, frame.time_base = self._rate, self._given, Fraction(1, self._rate)
            self._container.mux(self._stream.encode(frame))
            self._given += len(samples)

    def _take(self, count: int) -> Samples | None:
        """The next `count` samples, fewer at the sound's end; None after it."""
        taken: list[Samples] = []
        if self._silence:
            silence = min(count, self._silence)
            taken.append(np.zeros((silence, 2) if self._stereo else silence, np.float32))
            self._silence -= silence
            count -= silence
        while count and self._held is not None:
            taken.append(self._held[:count])
            count -= len(taken[-1])
            self._held = self._held[len(taken[-1]) :]
            if not len(self._held):
                self._held = self._next()
        return np.concatenate(taken) if taken else None

    def _next(self) -> Samples | None:
        try:
            return next(self._blocks, None)
        except MediaError as error:
            # The pictures took hours: they are kept, with the sound as far as it goes.
            self.cut_short = f"sound {self._uri}: {error}"
            _log.warning("%s; the video's sound ends there", self.cut_short)
            return None


def _facts(uri: str) -> tuple[int, int, float | None]:
    """Samples a second, channels, and the container's time of the first picture, None without pictures.

    Raises:
        MediaError: no file, or no sound in it that can be decoded.
    """
    with open_media(uri) as container:
        first = next(container.decode(audio=0), None) if container.streams.audio else None
        if first is None:
            raise MediaError("has no audio stream")
        rate, channels = first.sample_rate, first.layout.nb_channels
    with open_media(uri) as container:
        stream = video_stream(container)
        picture = next(container.decode(stream), None) if stream is not None else None
        return rate, channels, None if picture is None else picture.time or 0.0

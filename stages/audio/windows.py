"""Long sound in overlapping windows of equal length: which steps each one encodes, and which of them are kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wanprep.media.speech_frames import least_samples

_HOP = least_samples(2) - least_samples(1)


@dataclass(frozen=True, slots=True)
class EncoderWindow:
    """Steps `first` to `last` (exclusive) go through the encoder; those from `begin` to `end` are kept."""

    first: int
    last: int
    begin: int
    end: int

    @property
    def samples(self) -> slice:
        """The samples of which the encoder makes exactly these steps, equal to those of the whole sound."""
        return slice(self.first * _HOP, self.first * _HOP + least_samples(self.last - self.first))


def encoder_windows(steps: int, most: int, context: int) -> Iterator[EncoderWindow]:
    """Windows of `most` steps, or one of all when there are no more.

    Each kept step has at least `context` steps of sound on both sides, but for the sound's own ends.
    The last window reaches back rather than being short.

    Raises:
        ValueError: no step of a window would be left to keep.
    """
    if steps <= most:
        if steps > 0:
            yield EncoderWindow(0, steps, 0, steps)
        return
    if most <= 2 * context:
        raise ValueError(f"a window of {most} steps has none between two contexts of {context}")
    begin = 0
    while begin < steps:
        first = max(0, begin - context)
        last = first + most
        if last >= steps:
            yield EncoderWindow(steps - most, steps, begin, steps)
            return
        yield EncoderWindow(first, last, begin, last - context)
        begin = last - context

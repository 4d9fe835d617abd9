"""Rows about the few people of each frame, kept until the clip's end says which of them is the subject.

A frame has a fixed number of slots, so disk grows with frames and memory not at all, however many tracks come
and go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wanprep.spool import ArraySpool
from wanprep.stage import ClipContext

_CHUNK = 256  # frames read at a time
_NOBODY = -1

Row = Mapping[str, npt.ArrayLike]


class SlotSpools:
    """Named columns of [frames, slots, ...] and the track in each slot."""

    def __init__(
        self, context: ClipContext, slots: int, columns: Mapping[str, tuple[npt.DTypeLike, tuple[int, ...]]]
    ) -> None:
        self._context = context
        self._slots = slots
        self._tracks = context.spool(np.int32, slots)
        self._columns = {
            name: context.spool(dtype, slots, *shape) for name, (dtype, shape) in columns.items()
        }

    def __len__(self) -> int:
        return len(self._tracks)

    def add(self, frames: Sequence[Sequence[tuple[int, Row]]]) -> None:
        """For each frame its (track, values by column), at most `slots` of them; left out columns are zeros."""
        tracks_TS = np.full((len(frames), self._slots), _NOBODY, np.int32)
        values = {
            name: np.zeros((len(frames), *column.row_shape), column.dtype)
            for name, column in self._columns.items()
        }
        for t, rows in enumerate(frames):
            for s, (track, row) in enumerate(rows):
                tracks_TS[t, s] = track
                for name, value in row.items():
                    values[name][t, s] = value
        self._tracks.append(tracks_TS)
        for name, column in self._columns.items():
            column.append(values[name])

    def slot_T(self, track: int) -> npt.NDArray[np.int32]:
        """The slot of a track in each frame, int32 [T]; -1 where it is absent."""
        slots = [_slot(self._tracks[a:b], track) for a, b in self._spans()]
        return np.concatenate(slots) if slots else np.zeros(0, np.int32)

    def rows(self, name: str, track: int, start: int, stop: int) -> npt.NDArray[Any]:
        """A track's column over frames `start` to `stop`; zeros where it is absent."""
        column = self._columns[name]
        slot_T = _slot(self._tracks[start:stop], track)
        values: npt.NDArray[Any] = column[start:stop][np.arange(stop - start), np.maximum(slot_T, 0)]
        values[slot_T == _NOBODY] = 0
        return values

    def chunks(self, name: str, track: int) -> Iterator[npt.NDArray[Any]]:
        """`rows` over the whole clip, a few hundred frames at a time."""
        for start, stop in self._spans():
            yield self.rows(name, track, start, stop)

    def take(self, name: str, track: int) -> ArraySpool:
        """One track's column as a spool [T, ...]; zeros where it is absent."""
        column = self._columns[name]
        taken = self._context.spool(column.dtype, *column.row_shape[1:])
        for rows in self.chunks(name, track):
            taken.append(rows)
        return taken

    def whole(self, name: str, track: int) -> npt.NDArray[Any]:
        """One track's column as an array [T, ...], for columns of a few bytes a frame."""
        column = self._columns[name]
        parts = list(self.chunks(name, track))
        return np.concatenate(parts) if parts else np.zeros((0, *column.row_shape[1:]), column.dtype)

    def _spans(self) -> Iterator[tuple[int, int]]:
        for start in range(0, len(self), _CHUNK):
            yield start, min(start + _CHUNK, len(self))


def _slot(tracks_TS: npt.NDArray[np.int32], track: int) -> npt.NDArray[np.int32]:
    here_TS = tracks_TS == track
    slots: npt.NDArray[np.int32] = np.where(here_TS.any(1), here_TS.argmax(1), _NOBODY).astype(np.int32)
    return slots

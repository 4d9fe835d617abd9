"""Whom of several people a clip is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import numpy as np
from pydantic import BeforeValidator

from schemas import ClipRecord
from stages.person.coco_wholebody import Points
from wanprep.media.geometry import Size
from wanprep.subject import subject_numbers

if TYPE_CHECKING:
    from stages.person.track import Track

_OVERLAP = 0.3  # intersection over union of the box asked for with the body's or the head's


def _subject(value: Any) -> Any:
    numbers = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in numbers):
        numbers = []
    if len(numbers) == 1 and not isinstance(value, list | tuple) and value == int(value) >= 1:
        return int(value)
    inside = all(0 <= number <= 1 for number in numbers)
    if inside and (len(numbers) == 2 or (len(numbers) == 4 and _spans(numbers))):
        return tuple(float(number) for number in numbers)
    raise ValueError(
        "a subject is a number from 1 (the largest person), a point [x, y] or a box [x0, y0, x1, y1] with "
        "x0 < x1 and y0 < y1, in shares of the frame from 0 to 1"
    )


def _spans(box: Sequence[float]) -> bool:
    return box[0] < box[2] and box[1] < box[3]


#: 1 the largest person over the clip, 2 the second and so on; a point x y; a box x0 y0 x1 y1. Shares of the frame.
Subject: TypeAlias = Annotated[int | tuple[float, ...], BeforeValidator(_subject)]


def given_subject(clip: ClipRecord) -> int | tuple[float, ...] | None:
    """What was given with a clip, as `Subject` has it: pixels become shares of the frame. None: nothing was."""
    if clip.subject is None:
        return None
    numbers = subject_numbers(clip.subject)
    if len(numbers) == 1:
        return int(numbers[0])
    sides = (clip.width or 1, clip.height or 1)
    return tuple(number / sides[place % 2] for place, number in enumerate(numbers))


class SubjectChoice:
    """Follows who is asked for, frame by frame.

    A point or a box speaks of the first frame in which somebody is there; from then on that person is followed.
    """

    def __init__(self, subject: int | tuple[float, ...], told: str | None = None) -> None:
        """`told` is how the user has said it; None: by the config."""
        values = str(subject) if isinstance(subject, int) else f"[{', '.join(f'{v:g}' for v in subject)}]"
        self._told = told or f"estimator.subject={values}"
        self._rank = subject if isinstance(subject, int) else None
        self._place = None if isinstance(subject, int) else np.array(subject, np.float32)
        self._track: int | None = None

    def urgency(self, track: int | None, box_C: Points, size: Size) -> float:
        """How little a person is wanted before being measured, given the track so far and the head's box in a frame
        of `size`: 0 for the one who is followed; equal for all when the size alone decides."""
        if self._place is None:
            return 0.0
        if self._track is not None:
            return 0.0 if track == self._track else 1.0
        middle_C = (self._place[:2] + self._place[-2:]) / 2
        return float(np.linalg.norm((box_C[:2] + box_C[2:]) / 2 - middle_C * np.array(size, np.float32)))

    def look(self, people: Iterable[tuple[int, Sequence[Points]]], size: Size) -> None:
        """Takes in a frame: each person's track and boxes (of the head, of the body), pixels of a frame of `size`."""
        if self._place is None or self._track is not None:
            return
        scale = np.tile(np.array(size, np.float32), len(self._place) // 2)
        fits = [(max(_fit(self._place * scale, box_C) for box_C in boxes), -track) for track, boxes in people]
        best, track = max(fits, default=(0.0, 0))
        if best > 0:
            self._track = -track

    def of(self, largest: Sequence[Track]) -> int | None:
        """The subject's track, of all tracks by size; None: nobody is who was asked for."""
        if self._rank is not None:
            return largest[self._rank - 1].number if len(largest) >= self._rank else None
        return self._track

    def nobody(self, people: int) -> str:
        """Why there is no subject in a clip that shows so many people."""
        if not people:
            return "no person found"
        if self._rank is not None:
            return f"{self._told}, and fewer people were found"
        return f"nobody is at {self._told}"


def _fit(place_C: Points, box_C: Points) -> float:
    """How well a box fits the point or box asked for, above 0 up to 1; 0: not at all."""
    if not _spans(box_C.tolist()):
        return 0.0
    size_C = box_C[2:] - box_C[:2]
    if len(place_C) == 2:
        away_C = np.abs(place_C - (box_C[:2] + box_C[2:]) / 2) / (size_C / 2)
        return 0.0 if away_C.max() > 1 else 1 / (1 + float(np.linalg.norm(away_C)))
    shared = np.clip(np.minimum(place_C[2:], box_C[2:]) - np.maximum(place_C[:2], box_C[:2]), 0, None).prod()
    overlap = float(shared / ((place_C[2:] - place_C[:2]).prod() + size_C.prod() - shared))
    return overlap if overlap >= _OVERLAP else 0.0

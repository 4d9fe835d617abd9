"""Whom of several people a clip is about, as a manifest says it of one clip."""

from __future__ import annotations

import math

_FORMS = (
    "a subject is a number from 1 (the largest person), a point x,y or a box x0,y0,x1,y1 with x0 < x1 and y0 < y1, "
    "in pixels of the video"
)
_MOST_PEOPLE = 1000


def canonical_subject(text: str) -> str:
    """One text for equal subjects: "2", "640,360" or "100,50,420.5,700".

    Raises:
        ValueError: it is no number from 1, point or box; one line.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    fine = all(math.isfinite(number) and number >= 0 for number in numbers) and (
        (len(numbers) == 1 and 1 <= numbers[0] <= _MOST_PEOPLE and numbers[0] == int(numbers[0]))
        or len(numbers) == 2
        or (len(numbers) == 4 and numbers[0] < numbers[2] and numbers[1] < numbers[3])
    )
    if not fine:
        raise ValueError(f"'{text[:80]}': {_FORMS}")
    return ",".join(str(int(number)) if number == int(number) else repr(number) for number in numbers)


def subject_numbers(subject: str) -> tuple[float, ...]:
    """The numbers of a canonical subject: one (which of the largest), two (a point) or four (a box), pixels."""
    return tuple(float(part) for part in subject.split(","))


def outside(subject: str, width: int, height: int) -> str | None:
    """Why a canonical subject is not in a frame of this size, one line; None when it is."""
    numbers = subject_numbers(subject)
    if len(numbers) == 1 or (max(numbers[0::2]) <= width and max(numbers[1::2]) <= height):
        return None
    return f"subject {subject} lies outside the frame of {width}x{height} pixels"

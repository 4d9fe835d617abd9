"""Links heads over time: one track a person. Causal, and independent of the clip's length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.person.coco_wholebody import Points
from stages.person.estimator import Detection

_SIZE_RATIO = 2.0  # a head does not double in size between two sightings
_BODY_OVERLAP = 0.3  # intersection over union at which two bodies are one, when no face says so


@dataclass(slots=True, eq=False)
class Track:
    """One person's way through the clip, as sums: about 200 bytes whatever its length."""

    number: int
    first_frame: int
    last_frame: int
    head: Detection  # as last seen
    body_box_C: Points  # as last seen; zeros before
    frames: int = 0
    area: float = 0.0  # sum over frames, pixels of head box
    score: float = 0.0  # sum over frames
    measured_area: float = 0.0  # sum over the frames in which the body was measured too

    def row(self) -> dict[str, Any]:
        """The row of `schemas.skeleton.TRACK`."""
        return {
            "track": self.number,
            "first_frame": self.first_frame,
            "last_frame": self.last_frame,
            "frames": self.frames,
            "mean_area": self.area / self.frames,
            "mean_score": self.score / self.frames,
        }


class Tracker:
    """Nearest heads of similar size are one person, nearest pair first."""

    def __init__(self, link_distance: float, max_gap: int) -> None:
        """`link_distance` is the most a head moves between frames, in head widths; after `max_gap` frames unseen
        a track is over."""
        self._link_distance = link_distance
        self._max_gap = max_gap
        self._active: list[Track] = []
        self.tracks: list[Track] = []

    def expected(self, frame: int) -> list[Detection]:
        """Heads that were there shortly before `frame`."""
        return [track.head for track in self._alive(frame)]

    def link(self, frame: int, heads: Sequence[Detection]) -> list[Track]:
        """The track of each head of a frame, new ones included. Frames come in order, each once."""
        alive = self._alive(frame)
        pairs = sorted(
            (distance, h, t)
            for h, head in enumerate(heads)
            for t, track in enumerate(alive)
            if (distance := _distance(track.head, head)) <= self._link_distance
        )
        found: dict[int, Track] = {}
        for _, h, t in pairs:
            if h not in found and alive[t] not in found.values():
                found[h] = alive[t]
        return [self._see(frame, head, found.get(h)) for h, head in enumerate(heads)]

    def link_body(self, frame: int, head: Detection, body_box_C: Points) -> Track:
        """The track of a body without a detected face: the one whose body it overlaps most, else by its head."""
        alive = self._alive(frame)
        overlaps = [_overlap(track.body_box_C, body_box_C) for track in alive]
        if overlaps and max(overlaps) >= _BODY_OVERLAP:
            return self._see(frame, head, alive[int(np.argmax(overlaps))])
        return self.link(frame, [head])[0]

    def subject(self) -> Track | None:
        """Whom the clip is about: the largest sum of head area over measured frames; the earlier of equals."""
        return max(self.tracks, key=lambda track: (track.measured_area, -track.number), default=None)

    def _alive(self, frame: int) -> list[Track]:
        self._active = [track for track in self._active if frame - track.last_frame <= self._max_gap + 1]
        return self._active

    def _see(self, frame: int, head: Detection, track: Track | None) -> Track:
        if track is None:
            track = Track(len(self.tracks), frame, frame, head, np.zeros(4, np.float32))
            self.tracks.append(track)
            self._active.append(track)
        track.last_frame = frame
        track.head = head
        track.frames += 1
        track.area += head.area
        track.score += head.score
        return track


def _distance(a: Detection, b: Detection) -> float:
    """Between centres, in mean head widths; infinite for heads of quite different size."""
    small, large = sorted((a.width, b.width))
    if small <= 0 or large > _SIZE_RATIO * small:
        return float("inf")
    (ax, ay), (bx, by) = a.centre, b.centre
    return float(np.hypot(ax - bx, ay - by)) / ((small + large) / 2)


def _overlap(a_C: Points, b_C: Points) -> float:
    """Intersection over union of two boxes x0 y0 x1 y1; 0 where either is empty."""
    size = np.clip(np.minimum(a_C[2:], b_C[2:]) - np.maximum(a_C[:2], b_C[:2]), 0, None)
    shared = float(size.prod())
    union = float((a_C[2:] - a_C[:2]).prod() + (b_C[2:] - b_C[:2]).prod()) - shared
    return shared / union if union > 0 else 0.0

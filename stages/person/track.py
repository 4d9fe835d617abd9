"""Links people over time: one track a person. Causal, and independent of the clip's length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stages.person.coco_wholebody import Points
from stages.person.estimator import Detection

_SIZE_RATIO = 2.0  # a head does not double in size between two sightings
_BODY_OVERLAP = 0.3  # intersection over union at which two bodies are one, when no face says so
_SURE_OVERLAP = 0.5  # the same when faces speak against it: a head that turns away changes its size
_SEEN = 0.3  # confidence of a body point that counts
_STEADY = 0.5  # of the speed so far, in a track's speed
_FORESEEN = 5  # frames for which an unseen person is thought to go on
_HIDDEN = 0.2  # handicap of who was not seen just now against who was: in front of the subject is a passer-by


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """A person in a frame: a head, and the body where it was measured."""

    head: Detection
    body_box_C: Points | None = None  # float32 [4] x0 y0 x1 y1
    body_KC: Points | None = None  # float32 [17,3] x, y, confidence


@dataclass(slots=True, eq=False)
class Track:
    """One person's way through the clip, as sums: under a kilobyte whatever its length."""

    number: int
    first_frame: int
    last_frame: int
    head: Detection  # as last seen
    body_box_C: Points  # as last seen; zeros before
    body_KC: Points | None = None  # as last seen
    speed_C: Points = field(default_factory=lambda: np.zeros(2, np.float32))  # pixels a frame
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
    """Whose head is near, whose body overlaps and whose points lie alike is one person, the most alike first.

    Where a person is looked for goes on with the person's motion, so that of two who cross each keeps the own track
    and one who is hidden meanwhile is waited for.
    """

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

    def match(self, frame: int, sightings: Sequence[Sighting]) -> list[Track | None]:
        """The track so far that each sighting of a frame goes on with; None: a new one. Nothing is kept."""
        alive = self._alive(frame)
        pairs = sorted(
            (unlike, s, t)
            for s, sighting in enumerate(sightings)
            for t, track in enumerate(alive)
            if (unlike := self._unlike(track, sighting, frame)) is not None
        )
        found: dict[int, Track] = {}
        for _, s, t in pairs:
            if s not in found and alive[t] not in found.values():
                found[s] = alive[t]
        if not found and len(sightings) == 1 and (back := self._back(frame, sightings[0])) is not None:
            return [back]
        return [found.get(s) for s in range(len(sightings))]

    def link(self, frame: int, sightings: Sequence[Sighting]) -> list[Track]:
        """The track of each sighting of a frame, new ones included. Frames come in order, each once."""
        matched = self.match(frame, sightings)
        return [self._see(frame, sighting, track) for sighting, track in zip(sightings, matched, strict=True)]

    def link_body(self, frame: int, sighting: Sighting) -> Track:
        """The track of a body without a detected face: the one whose body it overlaps most, else by its head."""
        alive = self._alive(frame)
        if sighting.body_box_C is not None:
            overlaps = [_overlap(track.body_box_C, sighting.body_box_C) for track in alive]
            if overlaps and max(overlaps) >= _BODY_OVERLAP:
                return self._see(frame, sighting, alive[int(np.argmax(overlaps))])
        return self.link(frame, [sighting])[0]

    def largest(self) -> list[Track]:
        """The people measured, by the sum of head area over the measured frames; the earlier of equals first."""
        measured = [track for track in self.tracks if track.measured_area > 0]
        return sorted(measured, key=lambda track: (-track.measured_area, track.number))

    def _alive(self, frame: int) -> list[Track]:
        self._active = [track for track in self._active if frame - track.last_frame <= self._max_gap + 1]
        return self._active

    def _back(self, frame: int, sighting: Sighting) -> Track | None:
        """The only person that the clip has shown so far, who was away; a face without a body, which may be a picture
        on the wall, comes back after long only, and from one frame to the next nobody leaps."""
        if len(self.tracks) != 1 or _size_ratio(self.tracks[0].head, sighting.head) > _SIZE_RATIO:
            return None
        away = frame - self.tracks[0].last_frame
        least = 1 if sighting.body_box_C is not None else self._max_gap + 1
        return self.tracks[0] if away > least else None

    def _unlike(self, track: Track, sighting: Sighting, frame: int) -> float | None:
        """How unlike a track's continuation a sighting is, 0 to 1.2; None: it cannot be one."""
        away = frame - track.last_frame
        moved_C = track.speed_C * min(away, _FORESEEN)
        there = _distance(track.head, sighting.head)
        ahead = _distance(track.head, sighting.head, moved_C)
        limit = self._link_distance
        overlap, apart = None, None
        if sighting.body_box_C is not None and track.body_box_C.any():
            ahead_C = track.body_box_C + np.concatenate([moved_C, moved_C])
            overlap = max(_overlap(box_C, sighting.body_box_C) for box_C in (ahead_C, track.body_box_C))
        if sighting.body_KC is not None and track.body_KC is not None and sighting.head.width > 0:
            apart = _apart(track.body_KC, sighting.body_KC, moved_C, sighting.head.width)
        if min(there, ahead) > limit and (overlap is None or overlap < _SURE_OVERLAP):
            return None
        # Who was seen just now is where the motion leads; who was hidden may have stayed.
        head = min(ahead if away == 1 else min(there, ahead), limit) / limit
        cues = [head]
        if overlap is not None:
            cues.append(1 - overlap)
        if apart is not None:
            cues.append(min(apart, limit) / limit)
        return float(np.mean(cues)) + (_HIDDEN if away > 1 else 0.0)

    def _see(self, frame: int, sighting: Sighting, track: Track | None) -> Track:
        head = sighting.head
        if track is None:
            track = Track(len(self.tracks), frame, frame, head, np.zeros(4, np.float32))
            self.tracks.append(track)
        if track not in self._active:
            self._active.append(track)
            track.speed_C = np.zeros(2, np.float32)
        elif _distance(track.head, head) > self._link_distance:
            track.speed_C = np.zeros(2, np.float32)  # found by the body, or elsewhere: no motion to go by
        elif frame > track.last_frame:
            (x, y), (x0, y0) = head.centre, track.head.centre
            speed_C = np.array([x - x0, y - y0], np.float32) / (frame - track.last_frame)
            track.speed_C = _STEADY * track.speed_C + (1 - _STEADY) * speed_C
        track.last_frame = frame
        track.head = head
        if sighting.body_box_C is not None:
            track.body_box_C = sighting.body_box_C
            track.body_KC = sighting.body_KC
        track.frames += 1
        track.area += head.area
        track.score += head.score
        return track


def _size_ratio(a: Detection, b: Detection) -> float:
    small, large = sorted((a.width, b.width))
    return large / small if small > 0 else float("inf")


def _distance(a: Detection, b: Detection, moved_C: Points | None = None) -> float:
    """Between centres, `a` having moved, in mean head widths; infinite for heads of quite different size."""
    if _size_ratio(a, b) > _SIZE_RATIO:
        return float("inf")
    (ax, ay), (bx, by) = a.centre, b.centre
    dx, dy = (0.0, 0.0) if moved_C is None else moved_C.tolist()
    return float(np.hypot(ax + dx - bx, ay + dy - by)) / ((a.width + b.width) / 2)


def _apart(a_KC: Points, b_KC: Points, moved_C: Points, unit: float) -> float | None:
    """Mean distance of the points that both bodies show, `a` having moved, in units; None: they share none."""
    both_K = np.minimum(a_KC[:, 2], b_KC[:, 2]) >= _SEEN
    if not both_K.any():
        return None
    return float(np.linalg.norm(a_KC[both_K, :2] + moved_C - b_KC[both_K, :2], axis=1).mean()) / unit


def _overlap(a_C: Points, b_C: Points) -> float:
    """Intersection over union of two boxes x0 y0 x1 y1; 0 where either is empty."""
    size = np.clip(np.minimum(a_C[2:], b_C[2:]) - np.maximum(a_C[:2], b_C[:2]), 0, None)
    shared = float(size.prod())
    union = float((a_C[2:] - a_C[:2]).prod() + (b_C[2:] - b_C[:2]).prod()) - shared
    return shared / union if union > 0 else 0.0

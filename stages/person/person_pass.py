"""One estimator pass over a clip's frames, shared by every stage that wants people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from schemas.skeleton import NO_BODY
from stages.person.backends import estimator_for
from stages.person.estimator import (
    Detection,
    EstimatorConfig,
    PersonEstimator,
    PersonFrame,
    Pixels,
)
from stages.person.track import Tracker
from wanprep.media.geometry import Size, fit_long_side
from wanprep.media.window import Window
from wanprep.stage import ClipContext


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """A person in a frame, in source pixels, and which one it is."""

    track: int
    person: PersonFrame


class PersonPass:
    """Detects, links and measures the people of a clip, window by window, each window once."""

    def __init__(self, config: EstimatorConfig, estimator: PersonEstimator | None = None) -> None:
        self.config = config
        self._estimator = estimator or estimator_for(config)
        self._tracker = Tracker(config.link_distance, config.max_gap)
        self._segmentation = False
        self._broken: Exception | None = None
        self._frames = 0
        self._people_max = 0
        self._bodies = 0

    @property
    def slots(self) -> int:
        """Most people that `people` gives for a frame."""
        return self.config.max_people

    def request_segmentation(self) -> None:
        """Asks for the segmentation of everyone from here on. It changes no other result."""
        self._segmentation = True

    def working_size(self, window: Window) -> Size:
        return fit_long_side(window.width, window.height, self.config.long_side)

    def people(self, window: Window) -> list[list[Tracked]]:
        """For each frame of the window everyone measured in it, in pixels of the source.

        Raises:
            ValueError: the windows do not come in order.
        """
        if self._broken is not None:
            # One failure, whichever stage asked first: the others must not go on from the middle of a window.
            raise self._broken
        try:
            return window.memo("person", self.config, lambda: self._people(window))
        except Exception as error:
            self._broken = error
            raise

    def subject(self) -> int | None:
        """The track that the clip is about; None when nobody was seen."""
        track = self._tracker.subject()
        return None if track is None else track.number

    def tracks(self) -> list[dict[str, Any]]:
        """Rows of `schemas.skeleton.TRACK`, one a person, in order of appearance."""
        return [track.row() for track in self._tracker.tracks]

    @property
    def people_max(self) -> int:
        """Most people seen in one frame, measured or not."""
        return self._people_max

    @property
    def body_share(self) -> float:
        """Share of the frames so far that show anyone's body."""
        return self._bodies / self._frames if self._frames else 0.0

    def _people(self, window: Window) -> list[list[Tracked]]:
        if window.start != self._frames:
            raise ValueError(
                f"the person pass expected frame {self._frames} and was given frame {window.start}"
            )
        width, height = self.working_size(window)
        scale = (window.width / width, window.height / height)
        frames_THWC = window.rgb_THWC((width, height))
        self._estimator.look(frames_THWC)
        people = [self._frame(frame_HWC, scale) for frame_HWC in frames_THWC]
        self._estimator.look(frames_THWC[:0])  # holds on to the window no longer
        return people

    def _frame(self, frame_HWC: Pixels, scale: tuple[float, float]) -> list[Tracked]:
        index = self._frames
        self._frames += 1
        heads = self._estimator.detect(frame_HWC, self._tracker.expected(index))
        found = self._with_heads(index, frame_HWC, heads) if heads else self._without(index, frame_HWC)
        self._people_max = max(self._people_max, len(heads), len(found))
        self._bodies += any(tracked.person.status != NO_BODY for tracked in found)
        return [Tracked(tracked.track, tracked.person.scaled(*scale)) for tracked in found]

    def _with_heads(self, index: int, frame_HWC: Pixels, heads: list[Detection]) -> list[Tracked]:
        tracks = self._tracker.link(index, heads)
        # Who was most prominent so far is measured first, and has the whole frame as the first view.
        order = sorted(range(len(heads)), key=lambda i: (-tracks[i].area, tracks[i].number))
        found = []
        for rank, i in enumerate(order[: self.config.max_people]):
            person = self._estimator.measure(
                frame_HWC, heads[i], main=rank == 0, segmentation=self._segmentation
            )
            if person.status != NO_BODY:
                tracks[i].body_box_C = person.body_box_C
            tracks[i].measured_area += person.head.area
            found.append(Tracked(tracks[i].number, person))
        return found

    def _without(self, index: int, frame_HWC: Pixels) -> list[Tracked]:
        person = self._estimator.measure_unverified(frame_HWC, segmentation=self._segmentation)
        if person is None:
            return []
        track = self._tracker.link_body(index, person.head, person.body_box_C)
        track.body_box_C = person.body_box_C
        track.measured_area += person.head.area
        return [Tracked(track.number, person)]


def person_pass(context: ClipContext, config: EstimatorConfig) -> PersonPass:
    """The clip's pass with this config: the same one for all stages of the clip."""
    return context.shared(("person", config), lambda: PersonPass(config))

"""One estimator pass over a clip's frames, shared by every stage that wants people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from schemas import ClipRecord
from schemas.skeleton import NO_BODY
from stages.person.backends import estimator_for
from stages.person.coco_wholebody import BODY
from stages.person.estimator import (
    Detection,
    EstimatorConfig,
    PersonEstimator,
    PersonFrame,
    Pixels,
)
from stages.person.subject import SubjectChoice, given_subject
from stages.person.track import Sighting, Tracker
from wanprep.errors import UsageError
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

    def __init__(
        self,
        config: EstimatorConfig,
        estimator: PersonEstimator | None = None,
        clip: ClipRecord | None = None,
    ) -> None:
        """The subject is that of `clip`, where one was given with it, and the config's otherwise.

        Raises:
            UsageError: the clip's subject is a number above `max_people`.
        """
        self.config = config
        self._estimator = estimator or estimator_for(config)
        self._tracker = Tracker(config.link_distance, config.max_gap)
        self._choice = SubjectChoice(config.subject)
        if clip is not None and (given := given_subject(clip)) is not None:
            if isinstance(given, int) and given > config.max_people:
                raise UsageError(f"subject {given} of this clip needs estimator.max_people={given} or more")
            self._choice = SubjectChoice(given, f"subject {clip.subject}")
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
        """The track that the clip is about; None when it shows nobody who is asked for: `nobody` says why."""
        return self._choice.of(self._tracker.largest())

    @property
    def nobody(self) -> str:
        """Why there is no subject."""
        return self._choice.nobody(len(self._tracker.tracks))

    def warnings(self) -> list[str]:
        """What a user should look at, a sentence each."""
        if self._people_max < 2:
            return []
        return [
            f"up to {self._people_max} people at once ({len(self._tracker.tracks)} followed), of whom track "
            f"{self.subject()} was taken: estimator.subject chooses another"
        ]

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
        size = (frame_HWC.shape[1], frame_HWC.shape[0])
        so_far = self._tracker.match(index, [Sighting(head) for head in heads])
        # Who was most prominent so far is measured first, and has the whole frame as the first view.
        prominence = [
            head.area + (0.0 if track is None else track.area)
            for head, track in zip(heads, so_far, strict=True)
        ]
        numbers = [len(self._tracker.tracks) if track is None else track.number for track in so_far]
        order = sorted(range(len(heads)), key=lambda i: (-prominence[i], numbers[i], i))
        main = order[0]
        wanted = [
            self._choice.urgency(None if track is None else track.number, head.box_C, size)
            for head, track in zip(heads, so_far, strict=True)
        ]
        measured = {
            i: self._estimator.measure(frame_HWC, heads[i], main=i == main, segmentation=self._segmentation)
            for i in sorted(order, key=wanted.__getitem__)[: self.config.max_people]
        }
        tracks = self._tracker.link(
            index,
            [_sighting(measured[i]) if i in measured else Sighting(head) for i, head in enumerate(heads)],
        )
        for i, person in measured.items():
            tracks[i].measured_area += person.head.area
        found = [Tracked(tracks[i].number, person) for i, person in measured.items()]
        self._choose(found, size)
        return found

    def _without(self, index: int, frame_HWC: Pixels) -> list[Tracked]:
        person = self._estimator.measure_unverified(frame_HWC, segmentation=self._segmentation)
        if person is None:
            return []
        track = self._tracker.link_body(index, _sighting(person))
        track.measured_area += person.head.area
        found = [Tracked(track.number, person)]
        self._choose(found, (frame_HWC.shape[1], frame_HWC.shape[0]))
        return found

    def _choose(self, found: list[Tracked], size: Size) -> None:
        self._choice.look(
            [
                (
                    tracked.track,
                    [tracked.person.head.box_C]
                    + ([tracked.person.body_box_C] if tracked.person.status != NO_BODY else []),
                )
                for tracked in found
            ],
            size,
        )


def _sighting(person: PersonFrame) -> Sighting:
    if person.status == NO_BODY:
        return Sighting(person.head)
    return Sighting(person.head, person.body_box_C, person.keypoints_KC[BODY])


def person_pass(context: ClipContext, config: EstimatorConfig) -> PersonPass:
    """The clip's pass with this config: the same one for all stages of the clip."""
    return context.shared(("person", config), lambda: PersonPass(config, clip=context.clip))

"""Stage `reference_skeleton`: whole-body keypoints of the person in the reference picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from schemas import Record
from schemas.reference_skeleton import ReferenceSkeletonRecord
from stages.person.backends import estimator_for
from stages.person.coco_wholebody import Points
from stages.person.estimator import Detection, PersonFrame, Pixels
from stages.person.stage import EstimatorStage, PersonConfig
from stages.person.subject import Subject, SubjectChoice
from wanprep.animate.resize import resize_by_area
from wanprep.media.geometry import Size, fit_long_side
from wanprep.media.image import letterbox_box, read_image
from wanprep.stage import ClipContext, Media, Skipped, Stage, StageConfig


class ReferenceSkeletonConfig(PersonConfig):
    area: int | None = Field(
        default=None,
        ge=1024,
        le=8192**2,
        description="Look at the picture letterboxed to this many pixels, as Wan2.2-Animate's official preprocessing "
        "does (921600 for 720p), instead of the picture itself. The points are the picture's all the same.",
    )
    subject: Subject = Field(
        default=1,
        description="Whom of several people in the picture: 1 who has the largest head, 2 the second largest and so "
        "on; [x, y] who is at this point; [x0, y0, x1, y1] whose body or head fits this box best; in shares of the "
        "picture, 0 to 1. The estimator's own subject is the video's.",
    )

    @model_validator(mode="after")
    def _measured(self) -> ReferenceSkeletonConfig:
        if isinstance(self.subject, int) and self.subject > self.estimator.max_people:
            raise ValueError(f"subject={self.subject} needs estimator.max_people={self.subject} or more")
        return self


class ReferenceSkeleton(EstimatorStage[ReferenceSkeletonConfig], Stage[ReferenceSkeletonConfig]):
    """The person asked for; a clip without a reference, and a picture without a person, are skipped."""

    name: ClassVar[str] = "reference_skeleton"
    version: ClassVar[int] = 1
    record: ClassVar[type[Record]] = ReferenceSkeletonRecord
    Config: ClassVar[type[StageConfig]] = ReferenceSkeletonConfig
    reads: ClassVar[frozenset[Media]] = frozenset({Media.REFERENCE})

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> ReferenceSkeletonRecord | Skipped:
        reference = context.clip.reference
        if reference is None:
            return Skipped("the clip has no reference picture", 0.0)
        rgb_HWC = read_image(reference)
        height, width = rgb_HWC.shape[:2]
        people = self._people(rgb_HWC)
        if not people:
            return Skipped("no person found in the reference picture", 0.0)
        person = _chosen(people, self.config.subject, (width, height))
        if person is None:
            asked = f"reference_skeleton.subject={self.config.subject}"
            return Skipped(
                f"{asked} is none of the {len(people)} found in the reference picture", float(len(people))
            )
        return ReferenceSkeletonRecord(
            backend=self.config.estimator.backend,
            width=width,
            height=height,
            keypoints_KC=person.keypoints_KC,
            box_C=person.body_box_C,
            people=len(people),
        )

    def _people(self, rgb_HWC: Pixels) -> list[PersonFrame]:
        """Everyone in the picture, in its pixels, largest head first, whatever size it is looked at."""
        if self.config.area is None:
            return people_in(rgb_HWC, self.config)
        shown_HWC = resize_by_area(rgb_HWC, self.config.area)
        whole = (rgb_HWC.shape[1], rgb_HWC.shape[0])
        box = letterbox_box(whole, (shown_HWC.shape[1], shown_HWC.shape[0]))
        return [_out_of(box, person, whole) for person in people_in(shown_HWC, self.config)]


def _out_of(box: tuple[int, int, int, int], person: PersonFrame, whole: Size) -> PersonFrame:
    """A person in a letterbox whose picture lies at `box`, in pixels of the picture, which is of size `whole`."""
    corner_C = np.array(box[:2], np.float32)
    scale_C = np.array([whole[0] / (box[2] - box[0]), whole[1] / (box[3] - box[1])], np.float32)

    def moved(points: Points) -> Points:
        return ((points.reshape(-1, 2) - corner_C) * scale_C).astype(np.float32)

    keypoints_KC = person.keypoints_KC.copy()
    there_K = keypoints_KC[:, 2] > 0
    keypoints_KC[there_K, :2] = moved(keypoints_KC[there_K, :2])
    body_box_C = person.body_box_C
    if body_box_C.any():
        body_box_C = np.clip(moved(body_box_C), 0, np.array(whole, np.float32)).ravel()
    head = Detection(moved(person.head.box_C).ravel(), person.head.score)
    return PersonFrame(person.status, head, keypoints_KC, body_box_C)


def _chosen(people: list[PersonFrame], subject: Subject, size: Size) -> PersonFrame | None:
    """Who is asked for, of the people in a picture of `size`, largest head first."""
    if isinstance(subject, int):
        return people[subject - 1] if len(people) >= subject else None
    choice = SubjectChoice(subject)
    boxes = ((number, (person.head.box_C, person.body_box_C)) for number, person in enumerate(people))
    choice.look(boxes, size)
    found = choice.of([])
    return None if found is None else people[found]


def people_in(rgb_HWC: Pixels, config: PersonConfig) -> list[PersonFrame]:
    """Everyone whom a config's estimator measures in one picture, uint8 [H,W,3]: in its pixels, largest head first."""
    import cv2

    estimator = estimator_for(config.estimator)
    height, width = rgb_HWC.shape[:2]
    size = fit_long_side(width, height, config.estimator.long_side)
    if size != (width, height):
        rgb_HWC = np.asarray(cv2.resize(rgb_HWC, size, interpolation=cv2.INTER_AREA), np.uint8)
    estimator.look(rgb_HWC[None])
    found = estimator.people(rgb_HWC)
    estimator.look(rgb_HWC[None][:0])  # holds on to the picture no longer
    return [person.scaled(width / size[0], height / size[1]) for person in found]

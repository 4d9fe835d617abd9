"""What the person stages ask of a pose estimator; MediaPipe is one, others stand behind the same interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from stages.person.coco_wholebody import Points
from stages.person.subject import Subject
from wanprep.models.device import Device
from wanprep.models.field import model_field
from wanprep.stage import StageConfig

Pixels = npt.NDArray[np.uint8]


class EstimatorConfig(StageConfig):
    """How people are found. Stages with equal values here share one pass over the frames."""

    backend: Literal["mediapipe", "vitpose"] = Field(
        default="mediapipe",
        description="mediapipe runs on a CPU with the models inside its wheel: no download. vitpose is the pair of "
        "networks of Wan2.2's official preprocessing, YOLOv10-M and ViTPose-H, through onnxruntime, for a GPU: 133 "
        "points without mesh, gaze or segmentation.",
    )
    detector_model: str = model_field("yolov10m", "vitpose: the detector of people, ONNX.")
    pose_model: str = model_field("vitpose-h-wholebody", "vitpose: the pose network, ONNX.")
    device: Device = Field(
        default="auto",
        description="vitpose: where the networks run. cuda never falls back to the CPU.",
        json_schema_extra={"key": False},
    )
    batch: int = Field(
        default=8,
        ge=1,
        le=256,
        description="vitpose: frames, and then people, that the networks are given at a time; halved when the GPU's "
        "memory is short.",
        json_schema_extra={"key": False},
    )
    long_side: int = Field(
        default=854,
        ge=64,
        le=4096,
        description="Longer side, pixels, of the frames given to the estimator; smaller videos are not enlarged. The "
        "models see 128 to 256 pixels whatever it is: a 1080p clip took 69 ms a frame at 1280 and 57 to 59 at 960, 854 "
        "and 640, with the left hand found in 85, 87, 86 and 87 % and the right in 94 to 95 %. More helps people who "
        "are small in the picture; at 854 a 16:9 frame is scaled once for this and for masks of 480 rows.",
    )
    face_confidence: float = Field(
        default=0.5,
        ge=0.1,
        le=1,
        description="Least score of a detected face; lower finds darker and smaller faces and more false ones.",
    )
    tiles: Literal["never", "missing", "always"] = Field(
        default="missing",
        description="When to look for faces in square tiles too, which finds faces about half as large: never; when "
        "the whole frame shows none or loses one that was just there; or always, at 5 ms a tile and frame.",
    )
    unverified: bool = Field(
        default=True,
        description="Take a body that has no detected face (back turned), flagged unverified; off gives gaps instead.",
    )
    max_people: int = Field(
        default=2,
        ge=1,
        le=8,
        description="Most people measured in a frame. The subject is chosen at the clip's end among those measured: "
        "more is safer in crowds and costs about 50 ms a further person and frame.",
    )
    subject: Subject = Field(
        default=1,
        description="Whom skeleton, face and mask are about: 1 the largest person over the clip, 2 the second largest "
        "and so on; [x, y] who is at this point in the first frame that shows somebody there; [x0, y0, x1, y1] whose "
        "body or face fits this box best. Points and boxes are in shares of the frame, 0 to 1.",
    )
    fill_hands: bool = Field(
        default=True,
        description="Look again around the wrist for a hand that was missed: finds a few % more hands for 13 ms each.",
    )
    link_distance: float = Field(
        default=1.5,
        gt=0,
        description="How far a head may move between frames, in head widths, and stay one person; more follows faster "
        "motion and lower frame rates and mixes up people who stand close.",
    )
    max_gap: int = Field(
        default=30,
        ge=0,
        description="Frames for which a person may be unseen and still be the same one when back in the same place. "
        "The only person that a clip has shown so far is the same one whenever and wherever back.",
    )

    @model_validator(mode="after")
    def _measured(self) -> Self:
        if isinstance(self.subject, int) and self.subject > self.max_people:
            raise ValueError(f"subject={self.subject} needs max_people={self.subject} or more")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """A head in a frame: where a person is, before the body is measured."""

    box_C: Points  # float32 [4] x0 y0 x1 y1, pixels
    score: float  # 0 to 1
    #: float32 [6,2] pixels: right eye, left eye, nose, mouth, right ear, left ear.
    points_KC: Points | None = None

    @property
    def width(self) -> float:
        return float(self.box_C[2] - self.box_C[0])

    @property
    def height(self) -> float:
        return float(self.box_C[3] - self.box_C[1])

    @property
    def area(self) -> float:
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        return float(self.box_C[0] + self.box_C[2]) / 2, float(self.box_C[1] + self.box_C[3]) / 2


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """How likely each pixel of a part of the frame shows the person."""

    probability_HW: Pixels  # 0 to 255 stand for 0 to 1
    box_C: Points  # float32 [4] x0 y0 x1 y1, frame pixels: where the picture lies, also over the border


@dataclass(frozen=True, slots=True, eq=False)
class PersonFrame:
    """One person in one frame, in pixels of that frame. Left and right are the person's."""

    status: int  # schemas.skeleton: NO_BODY, FULL_FRAME, CROP or UNVERIFIED
    head: Detection
    keypoints_KC: Points  # float32 [133,3] x, y, confidence 0 to 1; zeros where absent
    body_box_C: Points  # float32 [4] x0 y0 x1 y1 around the confident points, face included
    mesh_KC: Points | None = None  # float32 [478,3]; z grows away from the camera, in the unit of x
    segmentation: Segmentation | None = None  # None: not asked for, or no body

    def scaled(self, x: float, y: float) -> PersonFrame:
        """The same person in a frame `x` times as wide and `y` times as high."""
        pair = np.array([x, y], np.float32)
        box = np.array([x, y, x, y], np.float32)
        triple = np.array([x, y, 1], np.float32)
        head, shown = self.head, self.segmentation
        return PersonFrame(
            status=self.status,
            head=Detection(
                head.box_C * box, head.score, None if head.points_KC is None else head.points_KC * pair
            ),
            keypoints_KC=self.keypoints_KC * triple,
            body_box_C=self.body_box_C * box,
            mesh_KC=None if self.mesh_KC is None else self.mesh_KC * np.array([x, y, x], np.float32),
            segmentation=None if shown is None else replace(shown, box_C=shown.box_C * box),
        )


class PersonEstimator(ABC):
    """Measures people frame by frame. It keeps no state between frames, so equal frames give equal answers."""

    name: ClassVar[str]

    def __init__(self, config: EstimatorConfig) -> None:
        self.config = config

    @abstractmethod
    def load(self) -> None:
        """Makes ready what every frame needs. Done once; later calls return at once."""

    def look(self, frames_THWC: Pixels) -> None:  # noqa: B027
        """Shows frames that are asked for next, one by one: for estimators that work on many at a time. It changes
        no answer."""

    @abstractmethod
    def detect(self, frame_HWC: Pixels, expected: Sequence[Detection] = ()) -> list[Detection]:
        """Heads in an RGB frame, best first. `expected` are heads seen shortly before: a hint to look harder."""

    @abstractmethod
    def measure(
        self, frame_HWC: Pixels, head: Detection, *, main: bool, segmentation: bool = False
    ) -> PersonFrame:
        """The person whose head is given. `main` says that it is the frame's most prominent one."""

    @abstractmethod
    def measure_unverified(self, frame_HWC: Pixels, *, segmentation: bool = False) -> PersonFrame | None:
        """A person without a detected head, if there seems to be one."""

    def people(self, frame_HWC: Pixels, *, segmentation: bool = False) -> list[PersonFrame]:
        """Everyone in one RGB frame, uint8 [H,W,3]: at most `max_people`, largest head first."""
        heads = sorted(self.detect(frame_HWC), key=lambda head: -head.area)[: self.config.max_people]
        if not heads:
            found = self.measure_unverified(frame_HWC, segmentation=segmentation)
            return [] if found is None else [found]
        return [
            self.measure(frame_HWC, head, main=i == 0, segmentation=segmentation)
            for i, head in enumerate(heads)
        ]


def box_around(keypoints_KC: Points, least: float, size: tuple[int, int]) -> Points:
    """x0 y0 x1 y1 around the points whose confidence is at least `least`, clamped to a frame of `size`
    (width, height); zeros when there are none inside."""
    points_KC = keypoints_KC[keypoints_KC[:, 2] >= least, :2]
    if not len(points_KC):
        return np.zeros(4, np.float32)
    limit = np.array(size, np.float32)
    low, high = np.clip(points_KC.min(0), 0, limit), np.clip(points_KC.max(0), 0, limit)
    if (high <= low).any():
        return np.zeros(4, np.float32)
    box_C: Points = np.concatenate([low, high]).astype(np.float32)
    return box_C

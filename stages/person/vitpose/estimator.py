"""People by YOLOv10-M and ViTPose-H, many frames at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from schemas.skeleton import CROP, NO_BODY, UNVERIFIED
from stages.person.coco_wholebody import COUNT, LEFT_SHOULDER, RIGHT_SHOULDER, TORSO, Points
from stages.person.estimator import Detection, EstimatorConfig, PersonEstimator, PersonFrame, Pixels
from stages.person.vitpose import detector, heatmaps, pose_input
from stages.person.vitpose.head import SEEN, head_of
from stages.person.vitpose.network import Network
from wanprep.models.resolve import resolve

_ROW = 6  # numbers of a detector's row
_MOST = 8  # people measured in a frame, the largest first: as many as `max_people` may ask for
_LEAST_SIDE = 10  # pixels of a person's box: below, the official code measures the whole frame instead
_SHOULDERS_SEEN = 0.5  # least confidence of both in a body that the detector has not found


@dataclass(slots=True, eq=False)
class _Seen:
    """What is in one frame."""

    frame_HWC: Pixels  # held, so that its address stays its own
    people: list[PersonFrame] = field(default_factory=list)
    unfound: PersonFrame | None = None  # of the whole frame, when the detector finds nobody


class VitPoseEstimator(PersonEstimator):
    """A detector says where people are, by classes of their own; a pose network measures each.

    Channels, crops and decoding are those of the Wan2.2 official preprocessing, which takes the largest person of
    each frame; here everyone is measured and followed.
    """

    name = "vitpose"

    def __init__(self, config: EstimatorConfig) -> None:
        super().__init__(config)
        self._networks: tuple[Network, Network] | None = None
        self._seen: dict[int, _Seen] = {}

    def load(self) -> None:
        if self._networks is not None:
            return
        config = self.config
        picture = (3, detector.SIDE, detector.SIDE)
        crop = (3, pose_input.HEIGHT, pose_input.WIDTH)
        maps = (COUNT, heatmaps.ROWS, heatmaps.COLUMNS)
        self._networks = (
            Network(resolve(config.detector_model), config.device, picture, (None, _ROW), config.batch),
            Network(resolve(config.pose_model), config.device, crop, maps, config.batch),
        )

    def look(self, frames_THWC: Pixels) -> None:
        self._seen = {}
        for start in range(0, len(frames_THWC), self.config.batch):
            frames = list(frames_THWC[start : start + self.config.batch])
            self._seen |= {_address(seen.frame_HWC): seen for seen in self._see(frames)}

    def detect(self, frame_HWC: Pixels, expected: Sequence[Detection] = ()) -> list[Detection]:
        return [person.head for person in self._of(frame_HWC).people]

    def measure(
        self, frame_HWC: Pixels, head: Detection, *, main: bool, segmentation: bool = False
    ) -> PersonFrame:
        people = self._of(frame_HWC).people
        if not people:
            raise ValueError("the head to measure is not of this frame: nobody was detected in it")
        return min(people, key=lambda person: _apart(person.head, head))

    def measure_unverified(self, frame_HWC: Pixels, *, segmentation: bool = False) -> PersonFrame | None:
        return self._of(frame_HWC).unfound

    def _of(self, frame_HWC: Pixels) -> _Seen:
        seen = self._seen.get(_address(frame_HWC))
        if seen is None or seen.frame_HWC.shape != frame_HWC.shape:
            (seen,) = self._see([frame_HWC])
        return seen

    def _see(self, frames: list[Pixels]) -> list[_Seen]:
        """Both networks over some frames: all of them at once, then everyone in them at once."""
        self.load()
        assert self._networks is not None
        finder, measurer = self._networks
        rows_BNC = finder.run(detector.detector_input(frames))
        found = [_Seen(frame) for frame in frames]
        boxes: list[tuple[_Seen, Points]] = []  # x0 y0 x1 y1 score, that of the whole frame -1
        for seen, rows_NC in zip(found, rows_BNC, strict=True):
            height, width = seen.frame_HWC.shape[:2]
            people_PC = _large(detector.people(rows_NC, width, height))
            if not len(people_PC) and self.config.unverified:
                people_PC = np.array([[0, 0, width, height, -1]], np.float32)
            boxes.extend((seen, person_C) for person_C in people_PC)
        for start in range(0, len(boxes), self.config.batch):
            part = boxes[start : start + self.config.batch]
            crops = [pose_input.crop_of(box_C) for _, box_C in part]
            pixels_BCHW = pose_input.pose_input([seen.frame_HWC for seen, _ in part], crops)
            keypoints_BKC = heatmaps.decode(measurer.run(pixels_BCHW), crops)
            for (seen, box_C), keypoints_KC in zip(part, keypoints_BKC, strict=True):
                self._add(seen, box_C, keypoints_KC)
        return found

    def _add(self, seen: _Seen, box_C: Points, keypoints_KC: Points) -> None:
        keypoints_KC[:, 2] = np.clip(keypoints_KC[:, 2], 0, 1)
        keypoints_KC[keypoints_KC[:, 2] == 0] = 0
        height, width = seen.frame_HWC.shape[:2]
        limit = np.array([width, height, width, height], np.float32)
        inside_C = np.clip(box_C[:4], 0, limit).astype(np.float32)
        head = head_of(keypoints_KC, inside_C, self.config.face_confidence)
        body = bool((keypoints_KC[list(TORSO), 2] >= SEEN).any())
        if box_C[4] < 0:
            if keypoints_KC[[LEFT_SHOULDER, RIGHT_SHOULDER], 2].min() >= _SHOULDERS_SEEN:
                seen.unfound = PersonFrame(UNVERIFIED, head, keypoints_KC, inside_C)
        elif head.score > 0:
            seen.people.append(PersonFrame(CROP if body else NO_BODY, head, keypoints_KC, inside_C))
        elif body and self.config.unverified:
            seen.people.append(PersonFrame(UNVERIFIED, head, keypoints_KC, inside_C))


def _large(people_PC: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The largest people, without those too small to measure; best first, as given."""
    size_PC = people_PC[:, 2:4] - people_PC[:, :2]
    people_PC, size_PC = (rows[size_PC.min(axis=1) >= _LEAST_SIDE] for rows in (people_PC, size_PC))
    kept = np.sort(np.argsort(-size_PC.prod(axis=1), kind="stable")[:_MOST])
    return people_PC[kept]


def _apart(a: Detection, b: Detection) -> float:
    return float(np.abs(a.box_C - b.box_C).sum())


def _address(frame_HWC: Pixels) -> int:
    return int(frame_HWC.__array_interface__["data"][0])

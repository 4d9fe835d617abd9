"""An estimator of people that answers from a script, and frames to ask it with."""

from __future__ import annotations

from collections.abc import Callable

import av
import numpy as np

from schemas.skeleton import CROP, FULL_FRAME, NO_BODY, UNVERIFIED
from stages.person.coco_wholebody import COUNT, FACE, TORSO
from stages.person.estimator import Detection, PersonEstimator, PersonFrame, Segmentation
from wanprep.media.window import Window

WIDTH, HEIGHT = 160, 120
Script = Callable[[int], list[tuple[float, float]]]  # frame -> (x, head width) of each person


class ScriptedEstimator(PersonEstimator):
    """Frames are flat and as bright as their number, by which the script is asked."""

    name = "scripted"

    def __init__(self, config, script, *, body=True, face=True, segmentation=True, turned=()):
        super().__init__(config)
        self.script, self.body, self.face, self.shows, self.turned = script, body, face, segmentation, turned
        self.detected, self.measured, self.segmented = 0, 0, 0

    def load(self):
        pass

    def detect(self, frame_HWC, expected=()):
        self.detected += 1
        frame = int(frame_HWC[0, 0, 0])
        return [] if frame in self.turned else [head_at(x, width) for x, width in self.script(frame)]

    def measure(self, frame_HWC, head, *, main, segmentation=False):
        self.measured += 1
        return self._person(frame_HWC, head, FULL_FRAME if main else CROP, segmentation)

    def measure_unverified(self, frame_HWC, *, segmentation=False):
        frame = int(frame_HWC[0, 0, 0])
        if frame not in self.turned:
            return None
        x, width = self.script(frame)[0]
        return self._person(frame_HWC, head_at(x, width, 0.0), UNVERIFIED, segmentation)

    def _person(self, frame_HWC, head, status, segmentation):
        keypoints, (x, _), width = np.zeros((COUNT, 3), np.float32), head.centre, head.width
        box = np.array([x - width, 40, x + width, 110], np.float32)
        if self.body:
            for index, corner in zip(TORSO, ((1, 40), (-1, 40), (-1, 110), (1, 110)), strict=True):
                keypoints[index] = (x + corner[0] * width, corner[1], 0.9)
        mesh = None
        if self.face and status != UNVERIFIED:
            mesh = np.random.default_rng(0).uniform(-0.5, 0.5, (478, 3)).astype(np.float32) * width + [
                x,
                20,
                0,
            ]
            keypoints[FACE, :2], keypoints[FACE, 2] = x, head.score
        shown = None
        if segmentation and self.shows:
            self.segmented += 1
            picture = np.zeros(frame_HWC.shape[:2], np.uint8)
            picture[40:110, max(0, int(x - width)) : int(x + width)] = 255
            shown = Segmentation(picture, np.array([0, 0, *frame_HWC.shape[1::-1]], np.float32))
        return PersonFrame(status if self.body else NO_BODY, head, keypoints, box, mesh, shown)


def head_at(x, width, score=0.9):
    return Detection(
        np.array([x - width / 2, 20 - width / 2, x + width / 2, 20 + width / 2], np.float32), score
    )


def windows(frames, size=7, scale=1):
    for start in range(0, frames, size):
        pictures = [
            av.VideoFrame.from_ndarray(
                np.full((HEIGHT * scale, WIDTH * scale, 3), i, np.uint8), format="rgb24"
            )
            for i in range(start, min(start + size, frames))
        ]
        yield Window(start, pictures, width=WIDTH * scale, height=HEIGHT * scale)

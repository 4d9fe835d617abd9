"""The face pictures of a clip, from what its store holds."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from schemas import FaceCropsRecord, FaceRecord, SkeletonRecord
from wanprep.animate.face_crop import crop_face, face_box
from wanprep.export.exporter import NotExportable
from wanprep.export.wan22_files import FACE_SIDE
from wanprep.media.wan_body import FACE
from wanprep.media.window import Window

Pictures = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.int32]

_CHUNK = 256  # frames whose keypoints are looked at together
_SURE = 0.3  # mean confidence of the 68 points from which there is a face: unsure points jump about


class StoredFaces:
    """The crops of the stage `face_crops`."""

    source = "face_crops"
    needs_video = False

    def __init__(self, record: FaceCropsRecord) -> None:
        self._record = record
        self.frames = record.frames
        self.filled = int(np.count_nonzero(np.asarray(record.filled_T)))

    def pictures_THWC(self, start: int, stop: int, window: Window | None) -> Pictures:
        """Frames `start` to `stop` (exclusive), uint8 [T,512,512,3]."""
        crops_THWC = self._record.crops_THWC(start, stop)
        if self._record.size == FACE_SIDE:
            return crops_THWC
        side = (FACE_SIDE, FACE_SIDE)
        return np.stack([np.asarray(cv2.resize(crop_HWC, side), np.uint8) for crop_HWC in crops_THWC])


class CutFaces:
    """Faces cut out of the video by the official rule; a frame without one has the box of the frames around it."""

    needs_video = True

    def __init__(self, boxes_TC: Boxes, valid_T: npt.NDArray[np.bool_], source: str) -> None:
        if not valid_T.any():
            raise NotExportable(f"{source}: has no face in any frame")
        self._boxes_TC = _filled(boxes_TC, valid_T)
        self.frames = len(boxes_TC)
        self.filled = int(np.count_nonzero(~valid_T))
        self.source = source

    @classmethod
    def of_faces(cls, record: FaceRecord) -> CutFaces:
        boxes_TC = np.asarray(record.crop_boxes_TC, np.int32)
        return cls(boxes_TC, np.asarray(record.valid_T, bool) & _proper(boxes_TC), "face")

    @classmethod
    def of_skeleton(cls, record: SkeletonRecord) -> CutFaces:
        boxes_TC = np.zeros((record.frames, 4), np.int32)
        for start in range(0, record.frames, _CHUNK):
            points_TKC = np.asarray(record.keypoints_smooth_TKC[start : start + _CHUNK, FACE], np.float64)
            for row, points_KC in enumerate(points_TKC):
                if points_KC[:, 2].mean() >= _SURE:
                    boxes_TC[start + row] = face_box(points_KC, record.width, record.height)
        return cls(boxes_TC, _proper(boxes_TC), "skeleton")

    def pictures_THWC(self, start: int, stop: int, window: Window | None) -> Pictures:
        """As of `StoredFaces`; `window` holds these frames."""
        assert window is not None
        frames_THWC = window.rgb_THWC()
        boxes_TC = self._boxes_TC[start:stop]
        return np.stack([crop_face(*pair) for pair in zip(frames_THWC, boxes_TC, strict=True)])


def _proper(boxes_TC: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    proper_T: npt.NDArray[np.bool_] = (boxes_TC[:, 2:] > boxes_TC[:, :2]).all(axis=1)
    return proper_T


def _filled(boxes_TC: Boxes, valid_T: npt.NDArray[np.bool_]) -> Boxes:
    """Boxes of all frames: between two that are valid on the line from one to the other, beyond the ends the same."""
    at_N = np.flatnonzero(valid_T)
    sides = [np.interp(np.arange(len(valid_T)), at_N, boxes_TC[at_N, side]) for side in range(4)]
    return np.stack(sides, axis=1).round().astype(np.int32)

"""Stage `quality`: numbers to filter clips by, from the pictures and from what other stages found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from schemas import FaceRecord, QualityRecord, Record, SkeletonRecord
from stages.quality.keypoints import BODY, Floats, Jitter, boxes_around
from stages.quality.motion import MotionMeter
from stages.quality.picture import PictureMeter, box_sharpness
from wanprep.media.geometry import Size, fit_short_side
from wanprep.media.wan_body import FACE, LEFT_HAND, RIGHT_HAND
from wanprep.media.window import Window
from wanprep.stage import ClipContext, FrameStage, Media, Resources, Skipped, StageConfig

_CHUNK = 256  # frames of records held at a time


class QualityConfig(StageConfig):
    """At which size pictures are measured, and which keypoints count."""

    short_side: int = Field(
        default=480,
        ge=16,
        le=2160,
        description="Shorter side of the measured pictures, pixels. Larger sees finer blur and costs more: "
        "of a 1080p source 480 takes 2.2 ms a frame, 240 half of it. Sharpness compares only between equal "
        "sizes.",
    )
    cell: int = Field(
        default=16,
        ge=4,
        le=256,
        description="Side of the cells in which sharpness is kept for faces and hands, pixels. Smaller "
        "follows small hands more closely and takes more scratch space (3 kB a frame at 16).",
    )
    motion_short_side: int = Field(
        default=120,
        ge=16,
        le=1080,
        description="Shorter side of the pictures on which motion and cuts are measured, pixels. Larger sees "
        "finer motion and costs in proportion to its square. Rounded up so that short_side is a multiple of it.",
    )
    least_confidence: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Keypoints under this confidence are left out. Lower measures more of blurred hands and "
        "takes in guesses, which shake.",
    )


class Quality(FrameStage[QualityConfig]):
    """Measures every clip; what needs a stage that is not in the recipe stays empty."""

    name: ClassVar[str] = "quality"
    version: ClassVar[int] = 2
    record: ClassVar[type[Record]] = QualityRecord
    Config: ClassVar[type[StageConfig]] = QualityConfig
    reads: ClassVar[frozenset[Media]] = frozenset({Media.VIDEO})
    uses: ClassVar[tuple[str, ...]] = ("skeleton", "face")
    resources: ClassVar[Resources] = Resources(cpus=1.0, memory=40 << 20)

    def models(self) -> Mapping[str, str]:
        return {"opencv": cv2.__version__}

    def setup(self) -> None:
        cv2.setNumThreads(1)  # workers run side by side

    def begin(self, context: ClipContext, inputs: Mapping[str, Record]) -> QualityFold:
        return QualityFold(self.config, context)


class QualityFold:
    """Quality of one clip."""

    def __init__(self, config: QualityConfig, context: ClipContext) -> None:
        self._config = config
        self._context = context
        self._size: Size = (0, 0)
        self._meter: PictureMeter | None = None
        self._motion_meter: MotionMeter | None = None

    def add(self, window: Window) -> None:
        if self._meter is None:
            self._size = fit_short_side(window.width, window.height, self._config.short_side)
            self._meter = PictureMeter(self._context, self._size, self._config.cell)
        if self._motion_meter is None:
            short_side = self._config.motion_short_side
            self._motion_meter = MotionMeter(self._context, *self._size, short_side)
        gray_THW = window.gray_THW(self._size)
        self._meter.add(gray_THW)
        self._motion_meter.add(gray_THW)

    def finish(self, inputs: Mapping[str, Record]) -> QualityRecord | Skipped:
        meter, motion_meter = self._meter, self._motion_meter
        if meter is None or motion_meter is None:
            return Skipped("no frames", 0.0)
        skeleton, face = inputs.get("skeleton"), inputs.get("face")
        skeleton = skeleton if isinstance(skeleton, SkeletonRecord) else None
        face = face if isinstance(face, FaceRecord) else None
        return QualityRecord(
            frames=len(meter.brightness_T),
            brightness=float(np.mean(meter.brightness_T, dtype=np.float64)),
            contrast=float(np.mean(meter.contrast_T, dtype=np.float64)),
            sharpness=float(np.median(meter.sharpness_T)),
            black_border=meter.black_border(),
            brightness_T=meter.brightness_T.tensor(),
            contrast_T=meter.contrast_T.tensor(),
            sharpness_T=meter.sharpness_T.tensor(),
            **self._sharpness(meter, skeleton, face),
            **self._motion(motion_meter),
            **self._jitter(skeleton, motion_meter),
            **_shares(skeleton, face),
        )

    def _sharpness(
        self, meter: PictureMeter, skeleton: SkeletonRecord | None, face: FaceRecord | None
    ) -> dict[str, float | None]:
        faces: list[npt.NDArray[np.float64]] = []
        hands: list[npt.NDArray[np.float64]] = []
        least = self._config.least_confidence
        for start, stop in _chunks(len(meter.cells_THW)):
            cells_THW = meter.cells_THW[start:stop]
            points_TKC = None if skeleton is None else np.asarray(skeleton.keypoints_TKC[start:stop])
            if skeleton is not None and points_TKC is not None:
                for hand in (LEFT_HAND, RIGHT_HAND):
                    boxes_TC = boxes_around(points_TKC[:, hand], least)
                    hands.append(box_sharpness(cells_THW, self._in_cells(boxes_TC, skeleton, meter)))
            if face is not None:
                boxes_TC = np.array(face.boxes_TC[start:stop], dtype=np.float64)
                boxes_TC[~np.asarray(face.valid_T[start:stop])] = np.nan
                faces.append(box_sharpness(cells_THW, self._in_cells(boxes_TC, face, meter)))
            elif skeleton is not None and points_TKC is not None:
                boxes_TC = boxes_around(points_TKC[:, FACE], least)
                faces.append(box_sharpness(cells_THW, self._in_cells(boxes_TC, skeleton, meter)))
        return {"face_sharpness": _median(faces), "hand_sharpness": _median(hands)}

    def _in_cells(
        self, boxes_TC: npt.NDArray[np.float64], record: SkeletonRecord | FaceRecord, meter: PictureMeter
    ) -> npt.NDArray[np.float64]:
        """Boxes in pixels of a record's frame as boxes in cells of the meter's pictures."""
        across, down = self._size[0] / record.width / meter.cell, self._size[1] / record.height / meter.cell
        return boxes_TC * (across, down, across, down)

    def _motion(self, meter: MotionMeter) -> dict[str, float | None]:
        found = meter.percent_per_second(self._context.clip.fps or 0.0)
        return {} if found is None else {"motion": found[0], "camera_motion": found[1]}

    def _jitter(self, skeleton: SkeletonRecord | None, meter: MotionMeter) -> dict[str, float | None]:
        if skeleton is None:
            return {}
        least = self._config.least_confidence
        body, face, hand = Jitter(least), Jitter(least), Jitter(least)
        for start, stop in _chunks(skeleton.frames):
            # Two frames more, for a second difference at each end of the chunk.
            stop = min(stop + 2, skeleton.frames)
            points_TKC = np.asarray(skeleton.keypoints_TKC[start:stop])
            boxes_TC = np.asarray(skeleton.boxes_TC[start:stop])
            cut_T = np.asarray(meter.cut_T[start : stop - 1])
            body.add(points_TKC[:, BODY], boxes_TC[:, 3] - boxes_TC[:, 1], cut_T)
            face.add(points_TKC[:, FACE], _extent(points_TKC[:, FACE], least)[:, 0], cut_T)
            for side in (LEFT_HAND, RIGHT_HAND):
                hand.add(points_TKC[:, side], _extent(points_TKC[:, side], least).max(axis=1), cut_T)
        return {
            "body_jitter": body.percent(),
            "face_jitter": face.percent(),
            "hand_jitter": hand.percent(),
        }


def _chunks(frames: int) -> Iterator[tuple[int, int]]:
    for start in range(0, frames, _CHUNK):
        yield start, min(start + _CHUNK, frames)


def _extent(points_TKC: Floats, least: float) -> npt.NDArray[np.float64]:
    """Width and height of the box around each frame's points: float64 [T,2], 0 where there is none."""
    boxes_TC = boxes_around(points_TKC, least)
    return np.nan_to_num(boxes_TC[:, 2:] - boxes_TC[:, :2])


def _median(values: list[npt.NDArray[np.float64]]) -> float | None:
    """The median of all numbers that are not NaN; None when there is none."""
    known = np.concatenate([row_T[~np.isnan(row_T)] for row_T in values]) if values else np.zeros(0)
    return float(np.median(known)) if len(known) else None


def _shares(skeleton: SkeletonRecord | None, face: FaceRecord | None) -> dict[str, float | None]:
    if skeleton is None:
        return {"face_share": face.face_share} if face is not None else {}
    return {
        "body_share": skeleton.body_share,
        "face_share": skeleton.face_share,
        "left_hand_share": skeleton.left_hand_share,
        "right_hand_share": skeleton.right_hand_share,
    }

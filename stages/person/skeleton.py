"""Stage `skeleton`: whole-body keypoints of the clip's subject, as measured and smoothed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from schemas import Record
from schemas.skeleton import (
    FILLED_BODY,
    FILLED_FACE,
    FILLED_LEFT_HAND,
    FILLED_RIGHT_HAND,
    NO_BODY,
    SkeletonRecord,
)
from schemas.tensor import Tensor
from stages.person.coco_wholebody import BODY, COUNT, FACE, FEET, LEFT_HAND, RIGHT_HAND
from stages.person.gap_config import GapConfig
from stages.person.gaps import cuts_over_gaps, fill_chunks, longest_gap
from stages.person.person_pass import person_pass
from stages.person.slots import SlotSpools
from stages.person.smooth import SIGMA, cuts_of, smooth_chunks
from stages.person.stage import PersonStage
from wanprep.media.window import Window
from wanprep.spool import ArraySpool
from wanprep.stage import ClipContext, Skipped, StageConfig


class SkeletonConfig(GapConfig):
    smooth_sigma: float = Field(
        default=SIGMA,
        ge=0,
        le=2,
        description="Frames of the Gaussian over time for the smoothed points; more is steadier and rounds off fast "
        "hands. At 24 to 30 fps 0.8 halves the jitter, 1.2 leaves a third. 0 leaves the points as measured.",
    )


class Skeleton(PersonStage[SkeletonConfig]):
    name: ClassVar[str] = "skeleton"
    version: ClassVar[int] = 2
    record: ClassVar[type[Record]] = SkeletonRecord
    Config: ClassVar[type[StageConfig]] = SkeletonConfig

    def begin(self, context: ClipContext, inputs: Mapping[str, Record]) -> SkeletonFold:
        return SkeletonFold(context, self.config)


class SkeletonFold:
    """Keeps everyone's keypoints until the subject is known."""

    def __init__(self, context: ClipContext, config: SkeletonConfig) -> None:
        self._context = context
        self._config = config
        self._pass = person_pass(context, config.estimator)
        self._size = (0, 0)
        self._rows = SlotSpools(
            context,
            self._pass.slots,
            {"keypoints": (np.float32, (COUNT, 3)), "box": (np.float32, (4,)), "status": (np.uint8, ())},
        )

    def add(self, window: Window) -> None:
        self._size = (window.width, window.height)
        self._rows.add(
            [
                [
                    (
                        tracked.track,
                        {
                            "keypoints": tracked.person.keypoints_KC,
                            "box": tracked.person.body_box_C,
                            "status": tracked.person.status,
                        },
                    )
                    for tracked in frame
                ]
                for frame in self._pass.people(window)
            ]
        )

    def finish(self, inputs: Mapping[str, Record]) -> SkeletonRecord | Skipped:
        track = self._pass.subject()
        if track is None:
            return Skipped(self._pass.nobody, 0.0)
        frames = len(self._rows)
        status_T = self._rows.whole("status", track)
        gap = self._config.seconds(self._context, longest_gap(status_T != NO_BODY))
        if refusal := self._config.refusal("the person", gap):
            return refusal
        keypoints = self._rows.take("keypoints", track)
        boxes_TC = self._rows.whole("box", track)
        shares = _part_shares(keypoints.chunks(), frames)
        smooth, filled_T = self._filled(self._smooth(track, boxes_TC, status_T), boxes_TC, status_T)
        return SkeletonRecord(
            backend=self._config.estimator.backend,
            frames=frames,
            width=self._size[0],
            height=self._size[1],
            keypoints_TKC=keypoints.tensor(),
            keypoints_smooth_TKC=smooth,
            boxes_TC=boxes_TC,
            status_T=status_T,
            subject_track=track,
            tracks=self._pass.tracks(),
            people_max=self._pass.people_max,
            body_share=float((status_T != NO_BODY).mean()),
            face_share=shares[0],
            left_hand_share=shares[1],
            right_hand_share=shares[2],
            filled_T=filled_T,
            longest_gap=gap,
            warnings=self._warnings(gap),
        )

    def _warnings(self, gap: float) -> list[str]:
        found = self._pass.warnings()
        if gap > self._config.fill_gaps:
            found.append(f"the person is not seen for {gap:.1f} s on end: left empty there")
        return found

    def _smooth(
        self, track: int, boxes_TC: npt.NDArray[np.float32], status_T: npt.NDArray[np.uint8]
    ) -> ArraySpool:
        """The smoothed keypoints [T,133,3]."""
        smooth = self._context.spool(np.float32, COUNT, 3)
        for chunk_TKC in smooth_chunks(
            lambda start, stop: self._rows.rows("keypoints", track, start, stop),
            len(status_T),
            cuts_of(_bodies(boxes_TC, status_T)),
            self._config.smooth_sigma,
        ):
            smooth.append(chunk_TKC)
        return smooth

    def _filled(
        self, points: ArraySpool, boxes_TC: npt.NDArray[np.float32], status_T: npt.NDArray[np.uint8]
    ) -> tuple[Tensor, npt.NDArray[np.uint8]]:
        """Keypoints [T,133,3] without short gaps, as a spool under the tensor type, and `filled_T`."""
        spool = self._context.spool(np.float32, COUNT, 3)
        filled_T = np.zeros(len(status_T), np.uint8)
        cuts_T = cuts_over_gaps(_bodies(boxes_TC, status_T))
        for chunk_TKC, filled_TK in fill_chunks(
            lambda start, stop: np.asarray(points[start:stop]),
            len(status_T),
            self._config.limit(self._context),
            cuts_T,
        ):
            rows_T = filled_T[len(spool) : len(spool) + len(chunk_TKC)]
            for bit, part in _PARTS.items():
                rows_T |= np.where(filled_TK[:, part].any(1), np.uint8(bit), np.uint8(0))
            spool.append(chunk_TKC)
        return spool.tensor(), filled_T


_PARTS = {
    FILLED_BODY: slice(BODY.start, FEET.stop),
    FILLED_FACE: FACE,
    FILLED_LEFT_HAND: LEFT_HAND,
    FILLED_RIGHT_HAND: RIGHT_HAND,
}


def _bodies(boxes_TC: npt.NDArray[np.float32], status_T: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """The boxes of whole bodies alone: that of a face is another, and a change between them is no cut."""
    return np.where((status_T != NO_BODY)[:, None], boxes_TC, np.float32(0))


def _part_shares(chunks: Iterable[npt.NDArray[np.float32]], frames: int) -> tuple[float, float, float]:
    """Shares of frames in which face, left and right hand have any confidence."""
    counts = np.zeros(3)
    for keypoints_TKC in chunks:
        counts += [(keypoints_TKC[:, part, 2] > 0).any(1).sum() for part in (FACE, LEFT_HAND, RIGHT_HAND)]
    face, left, right = counts / max(frames, 1)
    return float(face), float(left), float(right)

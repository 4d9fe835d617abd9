"""Stage `skeleton`: whole-body keypoints of the clip's subject, as measured and smoothed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from schemas import Record
from schemas.skeleton import NO_BODY, SkeletonRecord
from stages.person.coco_wholebody import COUNT, FACE, LEFT_HAND, RIGHT_HAND
from stages.person.person_pass import person_pass
from stages.person.slots import SlotSpools
from stages.person.smooth import SIGMA, cuts_of, smooth_chunks
from stages.person.stage import PersonConfig, PersonStage
from wanprep.media.window import Window
from wanprep.stage import ClipContext, Skipped, StageConfig


class SkeletonConfig(PersonConfig):
    smooth_sigma: float = Field(
        default=SIGMA,
        ge=0,
        le=2,
        description="Frames of the Gaussian over time for the smoothed points; more is steadier and rounds off fast "
        "hands. At 24 to 30 fps 0.8 halves the jitter, 1.2 leaves a third. 0 leaves the points as measured.",
    )


class Skeleton(PersonStage[SkeletonConfig]):
    name: ClassVar[str] = "skeleton"
    version: ClassVar[int] = 1
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
            return Skipped("no person found", 0.0)
        frames = len(self._rows)
        keypoints = self._rows.take("keypoints", track)
        status_T = self._rows.whole("status", track)
        boxes_TC = self._rows.whole("box", track)
        shares = _part_shares(keypoints.chunks(), frames)
        return SkeletonRecord(
            backend=self._config.estimator.backend,
            frames=frames,
            width=self._size[0],
            height=self._size[1],
            keypoints_TKC=keypoints.tensor(),
            keypoints_smooth_TKC=self._smooth(track, boxes_TC, status_T),
            boxes_TC=boxes_TC,
            status_T=status_T,
            subject_track=track,
            tracks=self._pass.tracks(),
            people_max=self._pass.people_max,
            body_share=float((status_T != NO_BODY).mean()),
            face_share=shares[0],
            left_hand_share=shares[1],
            right_hand_share=shares[2],
        )

    def _smooth(
        self, track: int, boxes_TC: npt.NDArray[np.float32], status_T: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.float32]:
        """The smoothed keypoints [T,133,3], as a spool under the tensor type."""
        smooth = self._context.spool(np.float32, COUNT, 3)
        # A face alone has another box than its body: only jumps of whole bodies are cuts.
        cuts_T = cuts_of(np.where((status_T != NO_BODY)[:, None], boxes_TC, 0))
        for chunk_TKC in smooth_chunks(
            lambda start, stop: self._rows.rows("keypoints", track, start, stop),
            len(status_T),
            cuts_T,
            self._config.smooth_sigma,
        ):
            smooth.append(chunk_TKC)
        return smooth.tensor()


def _part_shares(chunks: Iterable[npt.NDArray[np.float32]], frames: int) -> tuple[float, float, float]:
    """Shares of frames in which face, left and right hand have any confidence."""
    counts = np.zeros(3)
    for keypoints_TKC in chunks:
        counts += [(keypoints_TKC[:, part, 2] > 0).any(1).sum() for part in (FACE, LEFT_HAND, RIGHT_HAND)]
    face, left, right = counts / max(frames, 1)
    return float(face), float(left), float(right)

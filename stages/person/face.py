"""Stage `face`: the subject's face mesh and what it does, and the crop that Wan2.2-Animate takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from schemas import Record
from schemas.face import FaceRecord
from stages.person.coco_wholebody import FACE, MESH_TO_68
from stages.person.estimator import PersonFrame
from stages.person.face_68 import features_68
from stages.person.face_features import blinks, crop_box, features, normalise_mesh
from stages.person.gap_config import GapConfig
from stages.person.gaps import Gaps, between, between_chunks, cuts_over_gaps, find_gaps, longest_gap
from stages.person.person_pass import person_pass
from stages.person.slots import SlotSpools
from stages.person.smooth import SIGMA, cuts_of, smooth_chunks
from stages.person.stage import PersonStage
from wanprep.media.window import Window
from wanprep.spool import ArraySpool
from wanprep.stage import ClipContext, Skipped, StageConfig


class FaceConfig(GapConfig):
    mesh: bool = Field(
        default=True,
        description="Keep the 478-point mesh, if the backend has one: 2.9 kB a frame for reports and own features.",
    )
    crop_sigma: float = Field(
        default=SIGMA,
        ge=0,
        le=2,
        description="Frames of the Gaussian over the points that the crop follows; the official rule has none (0) and "
        "its crop shakes by a pixel or more.",
    )


class Face(PersonStage[FaceConfig]):
    name: ClassVar[str] = "face"
    version: ClassVar[int] = 2
    record: ClassVar[type[Record]] = FaceRecord
    Config: ClassVar[type[StageConfig]] = FaceConfig

    def begin(self, context: ClipContext, inputs: Mapping[str, Record]) -> FaceFold:
        return FaceFold(context, self.config)


_WITHOUT_MESH = ("vitpose",)
_LEAP = 3.0  # face heights to beyond a gap that are still one motion, not another shot
_COLUMNS: dict[str, tuple[npt.DTypeLike, tuple[int, ...]]] = {
    "valid": (np.bool_, ()),
    "score": (np.float32, ()),
    "box": (np.float32, (4,)),
    "points": (np.float32, (68, 2)),
    "head_pose": (np.float32, (3,)),
    "eyes": (np.float32, (2,)),
    "mouth": (np.float32, ()),
    "gaze": (np.float32, (2,)),
    "brows": (np.float32, (2,)),
}


class FaceFold:
    """Keeps everyone's face until the subject is known."""

    def __init__(self, context: ClipContext, config: FaceConfig) -> None:
        self._context = context
        self._config = config
        self._pass = person_pass(context, config.estimator)
        self._size = (0, 0)
        columns = dict(_COLUMNS)
        self._keeps_mesh = config.mesh and config.estimator.backend not in _WITHOUT_MESH
        if self._keeps_mesh:
            columns["mesh"] = (np.float16, (478, 3))
        self._rows = SlotSpools(context, self._pass.slots, columns)

    def add(self, window: Window) -> None:
        self._size = (window.width, window.height)
        self._rows.add(
            [
                [(tracked.track, self._row(tracked.person)) for tracked in frame]
                for frame in self._pass.people(window)
            ]
        )

    def finish(self, inputs: Mapping[str, Record]) -> FaceRecord | Skipped:
        track = self._pass.subject()
        valid_T = np.zeros(len(self._rows), bool) if track is None else self._rows.whole("valid", track)
        if track is None or not valid_T.any():
            return Skipped("no face found", 0.0)
        gap = self._config.seconds(self._context, longest_gap(valid_T))
        if refusal := self._config.refusal("the face", gap):
            return refusal
        measured_TC = self._rows.whole("box", track)
        gaps = find_gaps(valid_T, self._config.limit(self._context), cuts_over_gaps(measured_TC, _LEAP))

        def column(name: str, turn: float | None = None) -> npt.NDArray[Any]:
            return between(self._rows.whole(name, track), gaps, turn)

        return FaceRecord(
            backend=self._config.estimator.backend,
            frames=len(valid_T),
            width=self._size[0],
            height=self._size[1],
            valid_T=valid_T,
            score_T=self._rows.whole("score", track),
            boxes_TC=between(measured_TC, gaps),
            points_TKC=self._filled(self._rows.take("points", track), gaps).tensor(),
            mesh_TKC=self._filled(self._rows.take("mesh", track), gaps).tensor()
            if self._keeps_mesh
            else None,
            head_pose_TC=column("head_pose", 360),
            eye_openness_TC=column("eyes"),
            blink_T=blinks(self._rows.whole("eyes", track), valid_T),
            mouth_openness_T=column("mouth"),
            gaze_TC=column("gaze"),
            brow_height_TC=column("brows"),
            crop_boxes_TC=self._crops(track, valid_T, cuts_of(measured_TC), gaps),
            face_share=float(valid_T.mean()),
            filled_T=gaps.filled,
            longest_gap=gap,
        )

    def _filled(self, rows: ArraySpool, gaps: Gaps) -> ArraySpool:
        """A column with its gaps filled in."""
        filled = self._context.spool(rows.dtype, *rows.row_shape)
        for chunk in between_chunks(
            lambda start, stop: np.asarray(rows[start:stop]), gaps, self._config.limit(self._context)
        ):
            filled.append(chunk)
        return filled

    def _row(self, person: PersonFrame) -> dict[str, Any]:
        mesh_KC = person.mesh_KC
        points_KC = person.keypoints_KC[FACE]
        if mesh_KC is not None:
            found, around_KC, points_KC = features(mesh_KC), mesh_KC, mesh_KC[MESH_TO_68, :]
        elif person.head.score > 0 and (points_KC[:, 2] > 0).all():
            found, around_KC = features_68(points_KC), points_KC
        else:
            return {}
        box_C = np.concatenate([around_KC[:, :2].min(0), around_KC[:, :2].max(0)]).astype(np.float32)
        row = {
            "valid": True,
            "score": person.head.score,
            "box": box_C,
            "points": points_KC[:, :2],
            "head_pose": found.head_pose_C,
            "eyes": found.eye_openness_C,
            "mouth": found.mouth_openness,
            "gaze": found.gaze_C,
            "brows": found.brow_height_C,
        }
        if self._keeps_mesh and mesh_KC is not None:
            row["mesh"] = normalise_mesh(mesh_KC, box_C)
        return row

    def _crops(
        self, track: int, valid_T: npt.NDArray[np.bool_], cuts_T: npt.NDArray[np.bool_], gaps: Gaps
    ) -> npt.NDArray[np.int32]:
        def read(start: int, stop: int) -> npt.NDArray[np.float32]:
            points_TKC = self._rows.rows("points", track, start, stop)
            confidence = np.broadcast_to(valid_T[start:stop, None, None], (*points_TKC.shape[:2], 1))
            return np.concatenate([points_TKC, confidence.astype(np.float32)], axis=-1)

        smooth = self._context.spool(np.float32, 68, 3)
        for chunk_TKC in smooth_chunks(read, len(valid_T), cuts_T, self._config.crop_sigma):
            smooth.append(chunk_TKC)
        crops_TC = np.zeros((len(valid_T), 4), np.int32)
        frame = 0
        for chunk_TKC in self._filled(smooth, gaps).chunks():
            for points_KC in chunk_TKC:
                if valid_T[frame] or gaps.filled[frame]:
                    crops_TC[frame] = crop_box(points_KC, *self._size)
                frame += 1
        return crops_TC

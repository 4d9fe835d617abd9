"""Stage `retarget`: the driving person's motion with the reference character's limbs, on the reference's canvas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator, model_validator

from schemas import Record, ReferenceSkeletonRecord, RetargetRecord, SkeletonRecord
from stages.person.poses import PointsKind, poses
from stages.person.reference import people_in
from stages.person.stage import EstimatorStage, PersonConfig
from stages.size import SizeConfig
from wanprep.animate.compat import Compat
from wanprep.animate.pose import Pose, pose_of
from wanprep.animate.retarget import Fit, fit, move
from wanprep.animate.retarget.fit import NECK
from wanprep.errors import UsageError
from wanprep.key import file_digest
from wanprep.media.draw import CONFIDENCE_THRESHOLD
from wanprep.media.geometry import Size
from wanprep.media.image import letterbox_box, read_image
from wanprep.stage import ClipContext, Resources, Skipped, Stage, StageConfig

_MULTIPLE = 16  # pixels: of the canvas's sides (Wan2.2 official code)
_PIECE = 512  # frames moved at a time
_MEASURED_FRAMES = 4096  # of a longer clip, so many are measured, evenly spread: memory has an end


class RetargetConfig(PersonConfig):
    compat: Compat = Field(
        default="robust",
        description="robust measures limbs over all frames and knows what it has not seen; official measures the first "
        "frame alone, as Wan2.2-Animate's official preprocessing does, faults included.",
    )
    points: PointsKind = Field(
        default="smooth",
        description="Which of the skeleton's points: smoothed over time and filled in over short gaps "
        "(skeleton.smooth_sigma and fill_gaps); or as measured, as the official preprocessing takes them.",
    )
    size: SizeConfig = Field(
        default=SizeConfig(),
        description="Of the canvas, from the reference picture's own; give reference_latents the same.",
    )
    edited_driving: Path | None = Field(
        default=None,
        description="A frame of the driving video, edited so that the person stands straight and faces the camera; "
        "with edited_reference: limbs are measured in these two pictures. Both hold for all clips of the run.",
        json_schema_extra={"key": False},  # what is in the file is, through `models`
    )
    edited_reference: Path | None = Field(
        default=None,
        description="The reference picture, edited in the same way.",
        json_schema_extra={"key": False},
    )

    @field_validator("edited_driving", "edited_reference")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        # A worker's process may have another working folder.
        return path and path.expanduser().absolute()

    @model_validator(mode="after")
    def _both_pictures(self) -> RetargetConfig:
        if (self.edited_driving is None) != (self.edited_reference is None):
            raise ValueError("edited_driving and edited_reference go together")
        return self

    @property
    def edited(self) -> dict[str, Path]:
        """The edited pictures by the names of their fields, driving first; none without."""
        if self.edited_driving is None or self.edited_reference is None:
            return {}
        return {"edited_driving": self.edited_driving, "edited_reference": self.edited_reference}


class Retarget(EstimatorStage[RetargetConfig], Stage[RetargetConfig]):
    """The character's pose in each frame; a clip in which nobody's body is sure is skipped, and so is a reference."""

    name: ClassVar[str] = "retarget"
    version: ClassVar[int] = 1
    record: ClassVar[type[Record]] = RetargetRecord
    Config: ClassVar[type[StageConfig]] = RetargetConfig
    needs: ClassVar[tuple[str, ...]] = ("skeleton", "reference_skeleton")

    @property
    def resources(self) -> Resources:  # type: ignore[override]
        return super().resources if self.config.edited else Resources()

    def models(self) -> Mapping[str, str]:
        if not self.config.edited:
            return {}
        pictures = {
            name: file_digest(str(path)) if path.is_file() else "missing"
            for name, path in self.config.edited.items()
        }
        return {**super().models(), **pictures}

    def unavailable(self) -> str | None:
        for name, path in self.config.edited.items():
            if not path.is_file():
                return f"{name}: there is no picture {path}"
        return super().unavailable() if self.config.edited else None

    def setup(self) -> None:
        if self.config.edited:
            super().setup()

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> RetargetRecord | Skipped:
        skeleton, reference = inputs["skeleton"], inputs["reference_skeleton"]
        assert isinstance(skeleton, SkeletonRecord) and isinstance(reference, ReferenceSkeletonRecord)
        config = self.config
        canvas = config.size.of(reference.width, reference.height, _MULTIPLE)
        character = _on_canvas(reference, canvas, config.compat)
        if not _sure(character):
            return Skipped("the reference picture shows no body to take limbs from", 0.0)
        seen = _look(skeleton, config.points, config.compat)
        if not _sure(seen.measured):
            first = "'s first frame, which compat=official measures," if config.compat == "official" else ""
            return Skipped(f"the driving video{first} shows no body to take limbs from", 0.0)
        edited = [_edited(name, path, config) for name, path in config.edited.items()]
        found = fit(seen.measured, character, (edited[0], edited[1]) if edited else None, config.compat)
        body = context.spool(np.float32, 20, 3)
        left = context.spool(np.float32, 21, 3)
        right = context.spool(np.float32, 21, 3)
        pieces = list(_pieces(seen.neck_T, config.compat))
        for (start, _), pose in zip(
            pieces, poses(skeleton, config.points, config.compat, pieces), strict=True
        ):
            moved = move(found, pose, config.compat)
            new = slice(1 if start else 0, None)  # the first was the last of the piece before
            body.append(_stored(moved.body_TKC[new]))
            left.append(_stored(moved.left_hand_TKC[new]))
            right.append(_stored(moved.right_hand_TKC[new]))
        return RetargetRecord(
            compat=config.compat,
            points=config.points,
            edited=bool(edited),
            width=canvas[0],
            height=canvas[1],
            frames=skeleton.frames,
            body_TKC=body.tensor(),
            left_hand_TKC=left.tensor(),
            right_hand_TKC=right.tensor(),
            held_T=seen.held_T,
            framing=found.framing.name.lower(),
            scale=found.scale if np.isfinite(found.scale) else 0.0,
            ratios_N=_finite_ratios(found),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What one look at the whole clip gives."""

    measured: Pose  # bodies of the frames that are measured, without hands and face
    neck_T: npt.NDArray[np.bool_]  # the neck is sure
    held_T: npt.NDArray[np.bool_]


def _look(skeleton: SkeletonRecord, points: PointsKind, compat: Compat) -> _Seen:
    step = -(-skeleton.frames // _MEASURED_FRAMES)
    bodies, necks, holds = [], [], []
    start = 0
    for pose in poses(skeleton, points, compat):
        necks.append(pose.body_TKC[:, NECK, 2] >= CONFIDENCE_THRESHOLD)
        holds.append(pose.held_T)
        index_T = np.arange(start, start + len(pose))
        # The official code measures the first frame; "robust" every frame's own body, not one that was held.
        chosen_T = index_T == 0 if compat == "official" else (index_T % step == 0) & ~pose.held_T
        bodies.append(pose.body_TKC[chosen_T])
        start += len(pose)
    body_TKC = np.concatenate(bodies)
    none_TKC = np.zeros((len(body_TKC), 0, 3), np.float32)
    held_T = np.zeros(len(body_TKC), bool)
    measured = Pose((skeleton.width, skeleton.height), body_TKC, none_TKC, none_TKC, none_TKC, held_T)
    return _Seen(measured, np.concatenate(necks), np.concatenate(holds))


def _pieces(neck_T: npt.NDArray[np.bool_], compat: Compat) -> Iterator[tuple[int, int]]:
    """Pieces of a clip that are moved as the whole clip would be.

    Each begins with the last frame of the one before: "official" treats a first frame differently. Under "robust" it
    ends where the neck is sure: a missing one is interpolated between those around it.
    """
    begin = 0
    while begin < len(neck_T):
        stop = min(begin + _PIECE, len(neck_T))
        if compat == "robust" and neck_T.any():
            later = np.flatnonzero(neck_T[stop - 1 :])
            stop = stop + int(later[0]) if len(later) else len(neck_T)
        yield max(begin - 1, 0), stop
        begin = stop


def _on_canvas(reference: ReferenceSkeletonRecord, canvas: Size, compat: Compat) -> Pose:
    """The reference's pose in the picture letterboxed to the canvas."""
    x0, y0, x1, y1 = letterbox_box((reference.width, reference.height), canvas)
    scale_C = np.array([(x1 - x0) / reference.width, (y1 - y0) / reference.height, 1])
    keypoints_KC = np.asarray(reference.keypoints_KC) * scale_C + np.array([x0, y0, 0])
    return pose_of(keypoints_KC[None], canvas, compat)


def _edited(name: str, path: Path, config: RetargetConfig) -> Pose:
    rgb_HWC = read_image(str(path))
    people = people_in(rgb_HWC, config)
    if not people:
        raise UsageError(f"retarget.{name}: no person is found in {path}; edit it anew, or leave both out")
    return pose_of(people[0].keypoints_KC[None], (rgb_HWC.shape[1], rgb_HWC.shape[0]), config.compat)


def _sure(pose: Pose) -> bool:
    return bool((pose.body_TKC[..., 2] >= CONFIDENCE_THRESHOLD).any())


def _stored(points_TKC: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
    """As the record has them: what is left out, or not finite (an official limb of infinite length), is zeros."""
    there = np.isfinite(points_TKC).all(axis=-1, keepdims=True) & (points_TKC[..., 2:] > 0)
    return np.where(there, points_TKC, 0).astype(np.float32)


def _finite_ratios(found: Fit) -> npt.NDArray[np.float32]:
    return np.where(np.isfinite(found.ratios_N), found.ratios_N, 0).astype(np.float32)

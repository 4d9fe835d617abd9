"""Skeletons of a made-up standing person, as the stages' records hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from schemas import ClipRecord, ReferenceSkeletonRecord, RetargetRecord, SkeletonRecord
from stages.retarget import Retarget, RetargetConfig
from wanprep.stage import ClipContext, Skipped

Points = npt.NDArray[np.float32]
SOURCE, PICTURE = (320, 240), (120, 200)
# Body and feet of a person who stands facing us, fractions of a box half as wide as high (COCO-WholeBody order).
_BODY = (
    (.5, .1), (.53, .08), (.47, .08), (.58, .09), (.42, .09), (.68, .22), (.32, .22), (.76, .36), (.24, .36),
    (.82, .5), (.18, .5), (.6, .52), (.4, .52), (.61, .72), (.39, .72), (.62, .92), (.38, .92),
    (.66, .98), (.7, .97), (.6, .94), (.34, .98), (.3, .97), (.4, .94),
)  # fmt: skip


def figure_KC() -> npt.NDArray[np.float64]:
    """That person's 133 points: [133,2]."""
    turn = np.linspace(0, 2 * np.pi, 68)
    face = np.stack([0.5 + 0.08 * np.cos(turn), 0.09 + 0.06 * np.sin(turn)], axis=1)
    away = np.concatenate(
        [[[0.0, 0.0]], *[np.outer(np.arange(1, 5), (0.01, 0.008 + 0.002 * i)) for i in range(5)]]
    )
    return np.concatenate([_BODY, face, _BODY[9] + away, _BODY[10] + away * [-1, 1]])


def standing_TKC(
    frames: int, size: tuple[int, int] = SOURCE, height: float = 0.9, sway: float = 0.0
) -> Points:
    """[frames,133,3] pixels: a person `height` of the frame's, who moves `sway` pixels a frame to the right."""
    tall = height * size[1]
    shape_KC = figure_KC() * [0.5 * tall, tall] + [size[0] / 2 - 0.25 * tall, (size[1] - tall) / 2]
    way_TC = np.arange(frames)[:, None] * [sway, 0.0]
    points_TKC = shape_KC + way_TC[:, None]
    sure_TK1 = np.ones((*points_TKC.shape[:2], 1))
    return np.concatenate([points_TKC, sure_TK1], axis=2).astype(np.float32)


def skeleton_of(
    keypoints_TKC: Points, size: tuple[int, int] = SOURCE, smooth_TKC: Points | None = None
) -> SkeletonRecord:
    frames = len(keypoints_TKC)
    return SkeletonRecord(
        backend="made",
        frames=frames,
        width=size[0],
        height=size[1],
        keypoints_TKC=keypoints_TKC,
        keypoints_smooth_TKC=keypoints_TKC if smooth_TKC is None else smooth_TKC,
        boxes_TC=np.zeros((frames, 4), np.float32),
        status_T=np.ones(frames, np.uint8),
        subject_track=0,
        tracks=[],
        people_max=1,
        body_share=1.0,
        face_share=1.0,
        left_hand_share=1.0,
        right_hand_share=1.0,
    )


def reference_of(keypoints_KC: Points, size: tuple[int, int] = PICTURE) -> ReferenceSkeletonRecord:
    return ReferenceSkeletonRecord(
        backend="made",
        width=size[0],
        height=size[1],
        keypoints_KC=keypoints_KC,
        box_C=np.zeros(4, np.float32),
        people=1,
    )


def context(folder: Path, reference: Path | None = None) -> ClipContext:
    clip = ClipRecord(clip_id="clip", recipe="recipe", reference=str(reference) if reference else None)
    return ClipContext(clip, {}, folder)


def retargeted(
    folder: Path, skeleton: SkeletonRecord, reference: ReferenceSkeletonRecord, **config: object
) -> RetargetRecord | Skipped:
    """What the stage makes of both."""
    stage = Retarget(RetargetConfig.model_validate(config))
    stage.setup()
    made = stage.run(context(folder), {"skeleton": skeleton, "reference_skeleton": reference})
    assert isinstance(made, RetargetRecord | Skipped)
    return made

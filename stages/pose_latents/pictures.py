"""The skeleton pictures of a clip, one after the other: never all in memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from schemas import RetargetRecord, SkeletonRecord
from stages.person.poses import PointsKind, poses, spans
from wanprep.animate.compat import Compat
from wanprep.animate.pictures import skeleton_picture
from wanprep.animate.retarget import Retargeted
from wanprep.media.geometry import Size
from wanprep.media.image import RGB


def skeleton_pictures(
    skeleton: SkeletonRecord, canvas: Size, points: PointsKind, compat: Compat, drawn: Compat
) -> Iterator[RGB]:
    """The driving person's own skeleton, letterboxed to a canvas of (width, height); uint8 [H,W,3] each.

    Args:
        compat: which bodies are drawn, see `pose_of`.
        drawn: "robust" draws on the canvas, "official" letterboxes a picture of the video's size.

    Raises:
        OfficialFailure: as `pose_of` does.
    """
    for pose in poses(skeleton, points, compat):
        for frame in range(len(pose)):
            yield skeleton_picture(pose, frame, canvas, drawn)


def retargeted_pictures(record: RetargetRecord) -> Iterator[RGB]:
    """The character's skeleton on its canvas; uint8 [H,W,3] each. An official right hand is drawn first."""
    canvas = (record.width, record.height)
    for start, stop in spans(record.frames):
        parts = (record.body_TKC, record.left_hand_TKC, record.right_hand_TKC)
        moved = Retargeted(canvas, *(np.asarray(part[start:stop], np.float64) for part in parts))
        for frame in range(len(moved)):
            yield moved.picture(frame, right_hand_first=record.compat == "official")

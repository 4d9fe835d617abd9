"""A stored skeleton as poses of the official record, a piece of the clip at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import numpy as np

from schemas import SkeletonRecord
from wanprep.animate.compat import Compat
from wanprep.animate.pose import Pose, pose_of

PointsKind: TypeAlias = Literal["smooth", "measured"]

_PIECE = 256  # frames


def spans(frames: int, piece: int = _PIECE) -> Iterator[tuple[int, int]]:
    """Start and end (exclusive) of a clip's pieces."""
    for start in range(0, frames, piece):
        yield start, min(start + piece, frames)


def poses(
    skeleton: SkeletonRecord,
    points: PointsKind,
    compat: Compat,
    pieces: Iterable[tuple[int, int]] | None = None,
) -> Iterator[Pose]:
    """The pose of each piece in turn, with the numbers that `pose_of` gives for the whole clip.

    Under "robust" a body before the first one seen is zeros; and smooth points, whose short gaps were filled in, show
    nobody in a longer gap, where measured ones keep the body of the frame before.

    Args:
        points: those smoothed over time and filled in, or as measured.
        pieces: starts and ends, without gaps between; one may share a frame with the one
            before. None: a few hundred frames each.

    Raises:
        OfficialFailure: as `pose_of` does.
    """
    stored = skeleton.keypoints_smooth_TKC if points == "smooth" else skeleton.keypoints_TKC
    size = (skeleton.width, skeleton.height)
    last_1KC = None  # what a frame without a body takes it from
    for start, stop in spans(skeleton.frames) if pieces is None else pieces:
        keypoints_TKC = np.asarray(stored[start:stop], np.float32)
        before = 0 if last_1KC is None else 1
        if last_1KC is not None:
            keypoints_TKC = np.concatenate([last_1KC, keypoints_TKC])
        pose = pose_of(keypoints_TKC, size, compat)
        shown = np.flatnonzero(~pose.held_T)
        if len(shown):
            last_1KC = keypoints_TKC[shown[-1]][None].copy()
        if points == "smooth" and compat == "robust":
            pose.body_TKC[pose.held_T] = 0
        yield pose[slice(before, None)]

"""Poses of a stored skeleton come piece by piece and are those of the whole clip."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.skeletons import SOURCE, skeleton_of, standing_TKC

from stages.person.poses import poses
from wanprep.animate.compat import Compat, OfficialFailure
from wanprep.animate.pose import pose_of

PARTS = ("body_TKC", "left_hand_TKC", "right_hand_TKC", "face_TKC", "held_T")


def coming_and_going_TKC(frames: int = 23) -> np.ndarray:
    """Away in frames 8 to 14 and 20: not seen, and beyond the left border."""
    keypoints_TKC = standing_TKC(frames, sway=3)
    keypoints_TKC[8:15] = 0
    keypoints_TKC[8:15, :, :2] = -1
    keypoints_TKC[20, :, 0] -= 1000
    return keypoints_TKC


@pytest.mark.parametrize("compat", ["official", "robust"])
@pytest.mark.parametrize(
    "pieces", [None, [(0, 9), (9, 14), (14, 16), (16, 23)], [(0, 10), (9, 15), (14, 23)]], ids=str
)
def test_pieces_are_the_whole(compat: Compat, pieces: list[tuple[int, int]] | None) -> None:
    keypoints_TKC = coming_and_going_TKC()
    whole = pose_of(keypoints_TKC, SOURCE, compat)
    assert whole.held_T.nonzero()[0].tolist() == [*range(8, 15), 20]
    found = list(poses(skeleton_of(keypoints_TKC), "measured", compat, pieces))
    for (start, stop), pose in zip(pieces or [(0, 23)], found, strict=True):
        for part in PARTS:
            np.testing.assert_array_equal(getattr(pose, part), getattr(whole, part)[start:stop], err_msg=part)


def test_nobody_at_first_is_nobody_sure() -> None:
    keypoints_TKC = standing_TKC(8)
    keypoints_TKC[:5] = 0
    record = skeleton_of(keypoints_TKC)
    found = list(poses(record, "measured", "robust", [(0, 3), (3, 8)]))
    confidence_TK = np.concatenate([pose.body_TKC[..., 2] for pose in found])
    assert (confidence_TK[:5] == 0).all() and (confidence_TK[5:] == 1).all()
    keypoints_TKC[:5, :, :2] = -1
    with pytest.raises(OfficialFailure, match="no person in the first frame"):
        list(poses(record, "measured", "official", [(0, 3), (3, 8)]))


def test_the_points_that_are_asked_for() -> None:
    measured_TKC = standing_TKC(3)
    record = skeleton_of(measured_TKC, smooth_TKC=measured_TKC + np.array([8, 0, 0], np.float32))
    (measured,) = poses(record, "measured", "robust")
    (smooth,) = poses(record, "smooth", "robust")
    shift_TKC = smooth.pixels(smooth.body_TKC) - measured.pixels(measured.body_TKC)
    np.testing.assert_allclose(shift_TKC[..., 0], 8, atol=1e-3)


def test_who_is_away_for_long_is_not_drawn_from_smooth_points() -> None:
    record = skeleton_of(coming_and_going_TKC())
    (official,) = poses(record, "smooth", "official")
    assert official.body_TKC[10, :, 2].all()
    for pieces in (None, [(0, 9), (9, 14), (14, 23)]):
        found = list(poses(record, "smooth", "robust", pieces))
        seen_T = np.concatenate([pose.body_TKC[..., 2].any(axis=1) for pose in found])
        assert np.flatnonzero(~seen_T).tolist() == [*range(8, 15), 20]

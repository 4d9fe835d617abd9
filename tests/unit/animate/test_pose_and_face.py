"""Pose records, face crops and skeleton pictures of frames without a person, a face, or a sure point."""

from __future__ import annotations

import numpy as np
import pytest

from wanprep.animate.compat import OfficialFailure
from wanprep.animate.face_crop import crop_face, face_box, square_box
from wanprep.animate.pictures import skeleton_picture
from wanprep.animate.pose import pose_of
from wanprep.media.wan_body import BODY_POINT_NAMES

SIZE = (320, 240)
NECK = BODY_POINT_NAMES.index("neck")


def people(frames: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    keypoints_TKC = rng.uniform(20, 200, (frames, 133, 3)).astype(np.float32)
    keypoints_TKC[..., 2] = 0.9
    return keypoints_TKC


def test_frames_without_a_body_have_the_one_before_and_say_so() -> None:
    keypoints_TKC = people(5)
    keypoints_TKC[[0, 3, 4], :, 2] = 0
    pose = pose_of(keypoints_TKC, SIZE)
    assert pose.held_T.tolist() == [True, False, False, True, True]
    np.testing.assert_array_equal(pose.body_TKC[3], pose.body_TKC[2])
    np.testing.assert_array_equal(pose.body_TKC[4], pose.body_TKC[2])
    # Nothing came before the first frame: it has the next body's place and is not drawn.
    np.testing.assert_array_equal(pose.body_TKC[0, :, :2], pose.body_TKC[1, :, :2])
    assert not pose.body_TKC[0, :, 2].any()
    assert not skeleton_picture(pose, 0).any()
    assert skeleton_picture(pose, 3).any()


def test_the_official_record_needs_a_person_in_the_first_frame() -> None:
    keypoints_TKC = people(2)
    keypoints_TKC[0, :, 0] = -5
    with pytest.raises(OfficialFailure, match="first frame"):
        pose_of(keypoints_TKC, SIZE, "official")
    assert pose_of(keypoints_TKC, SIZE).held_T.tolist() == [True, False]


def test_nothing_that_is_not_finite_leaves() -> None:
    keypoints_TKC = people(3)
    keypoints_TKC[0, 5] = np.nan
    keypoints_TKC[1, 6, 0] = np.inf
    keypoints_TKC[2, :] = np.nan
    pose = pose_of(keypoints_TKC, SIZE)
    for part in (pose.body_TKC, pose.left_hand_TKC, pose.right_hand_TKC, pose.face_TKC):
        assert np.isfinite(part).all()
    assert (pose.body_TKC[:2, NECK, 2] == 0).all()
    assert pose.held_T.tolist() == [False, False, True]


def test_a_neck_with_one_shoulder_is_missing_and_officially_half_sure() -> None:
    keypoints_TKC = people(1)
    keypoints_TKC[0, 5, 2] = 0
    assert pose_of(keypoints_TKC, SIZE).body_TKC[0, NECK, 2] == 0
    assert pose_of(keypoints_TKC, SIZE, "official").body_TKC[0, NECK, 2] == np.float32(0.45)


def test_a_clip_without_anyone_is_all_held() -> None:
    pose = pose_of(np.zeros((4, 133, 3), np.float32), SIZE)
    assert pose.held_T.all()
    assert not pose.body_TKC.any()


@pytest.mark.parametrize("shape", [(0, 133, 3), (133, 3), (2, 132, 3)])
def test_keypoints_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="133"):
        pose_of(np.zeros(shape, np.float32), SIZE)


def test_a_canvas_is_drawn_on_sharply_and_officially_scaled() -> None:
    pose = pose_of(people(1), SIZE)
    canvas = (96, 160)
    sharp_HWC = skeleton_picture(pose, 0, canvas)
    blurred_HWC = skeleton_picture(pose, 0, canvas, "official")
    assert sharp_HWC.shape == blurred_HWC.shape == (160, 96, 3)
    assert len(np.unique(sharp_HWC.reshape(-1, 3), axis=0)) < len(
        np.unique(blurred_HWC.reshape(-1, 3), axis=0)
    )
    # Both lie in the same place: the middle of what is drawn.
    middles = [np.argwhere(picture.any(axis=2)).mean(axis=0) for picture in (sharp_HWC, blurred_HWC)]
    np.testing.assert_allclose(*middles, atol=2)


def face(x: float, y: float) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 68)
    return np.stack([x + 30 * np.cos(angles), y + 40 * np.sin(angles)], axis=1)


@pytest.mark.parametrize(("x", "y"), [(-90, 100), (100, -90)])
def test_a_face_beyond_the_border_is_black_and_officially_from_the_far_side(x: float, y: float) -> None:
    frame_HWC = np.full((240, 320, 3), 50, np.uint8)
    wrong_C = face_box(face(x, y), 320, 240, "official")
    assert wrong_C.min() < 0
    assert crop_face(frame_HWC, wrong_C, compat="official").any()
    assert not crop_face(frame_HWC, wrong_C).any()
    safe_C = face_box(face(x, y), 320, 240)
    assert safe_C.tolist() == [0, 0, 0, 0]
    crop_HWC = crop_face(frame_HWC, safe_C)
    assert crop_HWC.shape == (512, 512, 3)
    assert not crop_HWC.any()
    assert square_box(safe_C, 320, 240).tolist() == [0, 0, 0, 0]


def test_points_that_are_not_finite_are_no_face() -> None:
    points_KC = face(160, 120)
    points_KC[3] = np.nan
    assert face_box(points_KC, 320, 240).tolist() == [0, 0, 0, 0]
    with pytest.raises(OfficialFailure):
        face_box(points_KC, 320, 240, "official")


@pytest.mark.parametrize(("x", "y"), [(160, 120), (10, 10), (315, 235), (160, 5)])
def test_a_square_box_keeps_the_aspect_and_the_face(x: float, y: float) -> None:
    box_C = face_box(face(x, y), 320, 240)
    x0, y0, x1, y1 = square_box(box_C, 320, 240).tolist()
    assert x1 - x0 == y1 - y0 == max(box_C[2] - box_C[0], box_C[3] - box_C[1])
    assert x0 <= box_C[0] and y0 <= box_C[1] and x1 >= box_C[2] and y1 >= box_C[3]
    assert min(x0, y0) >= 0 and x1 <= 320 and y1 <= 240


def test_a_square_is_no_larger_than_the_frame() -> None:
    assert square_box(np.array([0, 10, 300, 30], np.int32), 320, 48).tolist() == [0, 0, 300, 48]

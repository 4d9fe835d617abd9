import numpy as np

from stages.person import coco_wholebody as coco


def _pose(seed=0):
    rng = np.random.default_rng(seed)
    pose_KC = rng.uniform(1, 100, (33, 4)).astype(np.float32)
    pose_KC[:, 3] = rng.uniform(0.1, 1, 33)
    return pose_KC


def test_parts_tile_the_133_points():
    parts = (coco.BODY, coco.FEET, coco.FACE, coco.LEFT_HAND, coco.RIGHT_HAND)
    covered = [i for part in parts for i in range(part.start, part.stop)]
    assert covered == list(range(coco.COUNT))


def test_68_points_are_distinct_mesh_points():
    assert len(coco.MESH_TO_68) == len(set(coco.MESH_TO_68)) == 68
    assert max(coco.MESH_TO_68) < 468


def test_body_and_feet_come_from_the_pose():
    pose_KC = _pose()
    keypoints_KC = coco.from_mediapipe(pose_KC)
    np.testing.assert_array_equal(keypoints_KC[coco.LEFT_SHOULDER], pose_KC[11, [0, 1, 3]])
    np.testing.assert_array_equal(keypoints_KC[coco.RIGHT_HIP], pose_KC[24, [0, 1, 3]])
    np.testing.assert_array_equal(keypoints_KC[19], pose_KC[29, [0, 1, 3]])  # left heel
    assert keypoints_KC[18, 2] == pose_KC[31, 3] / 2  # a small toe is a copy of the big one
    np.testing.assert_array_equal(keypoints_KC[18, :2], keypoints_KC[17, :2])


def test_absent_parts_are_zeros():
    keypoints_KC = coco.from_mediapipe(_pose())
    assert not keypoints_KC[coco.FACE].any()
    assert not keypoints_KC[coco.LEFT_HAND].any()
    assert not coco.from_mediapipe(None).any()


def test_invisible_points_lie_at_the_origin():
    pose_KC = _pose()
    pose_KC[25, 3] = 0
    keypoints_KC = coco.from_mediapipe(pose_KC)
    assert not keypoints_KC[13].any()
    assert keypoints_KC[14].all()


def test_mesh_gives_the_face_and_steadies_the_eyes():
    pose_KC = _pose()
    mesh_KC = np.random.default_rng(1).uniform(0, 50, (478, 3)).astype(np.float32)
    keypoints_KC = coco.from_mediapipe(pose_KC, mesh_KC, face_score=0.75)
    np.testing.assert_array_equal(keypoints_KC[coco.FACE][8, :2], mesh_KC[152, :2])  # the chin
    assert (keypoints_KC[coco.FACE, 2] == 0.75).all()
    np.testing.assert_array_equal(keypoints_KC[coco.LEFT_EYE, :2], mesh_KC[473, :2])
    assert keypoints_KC[coco.LEFT_EYE, 2] == pose_KC[2, 3]


def test_a_face_without_a_body_has_no_body_points():
    mesh_KC = np.ones((478, 3), np.float32)
    keypoints_KC = coco.from_mediapipe(None, mesh_KC, face_score=0.9)
    assert not keypoints_KC[coco.BODY].any()
    assert (keypoints_KC[coco.FACE, 2] > 0).all()


def test_hands_keep_their_sides():
    left_KC, right_KC = np.full((21, 3), 3, np.float32), np.full((21, 3), 7, np.float32)
    keypoints_KC = coco.from_mediapipe(_pose(), None, left_KC, right_KC, left_score=0.5, right_score=0.25)
    np.testing.assert_array_equal(keypoints_KC[91], [3, 3, 0.5])
    np.testing.assert_array_equal(keypoints_KC[132], [7, 7, 0.25])

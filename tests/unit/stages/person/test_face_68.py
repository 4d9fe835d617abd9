"""Features of 68 points: head pose of a turned face, and the rest as the mesh gives it."""

import numpy as np
import pytest

from stages.person.coco_wholebody import MESH_TO_68
from stages.person.face_68 import _MODEL, _RIGID, features_68, head_pose_68
from stages.person.face_features import features
from stages.person.vitpose.tiny import face_68


def _turned(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The mean face turned to the image's right, then up, then clockwise; x right, y down, z away."""
    yaw, pitch, roll = np.radians([yaw, pitch, roll])
    turn = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    tilt = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    points = np.zeros((68, 2))
    points[list(_RIGID)] = 80 * (_MODEL @ (turn @ nod @ tilt).T)[:, :2] + [300, 200]
    return points


@pytest.mark.parametrize("angles", [(0, 0, 0), (25, 0, 0), (-40, 0, 0), (0, 20, 0), (0, -15, 0), (0, 0, 30)])
def test_a_turned_head_is_measured(angles: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(head_pose_68(_turned(*angles)), angles, atol=1e-3)


def test_eyes_and_mouth_are_those_of_the_mesh() -> None:
    mesh_KC = np.random.default_rng(3).uniform(0, 100, (478, 3)).astype(np.float32)
    of_mesh, of_68 = features(mesh_KC), features_68(mesh_KC[MESH_TO_68, :2])
    np.testing.assert_allclose(of_68.eye_openness_C, of_mesh.eye_openness_C, rtol=1e-5)
    assert of_68.mouth_openness == pytest.approx(of_mesh.mouth_openness, rel=1e-5)
    assert not of_68.gaze_C.any()


def test_raised_brows_are_higher_on_their_side() -> None:
    face_KC = face_68() * 100
    still = features_68(face_KC).brow_height_C
    raised_KC = face_KC.copy()
    raised_KC[17:22, 1] -= 5
    right, left = features_68(raised_KC).brow_height_C - still
    assert right > 0.02
    assert left == pytest.approx(0, abs=1e-6)
    assert (still > 0).all()


def test_points_that_are_all_equal_give_zeros() -> None:
    found = features_68(np.full((68, 2), 7.0))
    assert not any(np.any(value) for value in (found.head_pose_C, found.eye_openness_C, found.brow_height_C))
    assert found.mouth_openness == 0

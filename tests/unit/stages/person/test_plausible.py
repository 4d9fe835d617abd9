import numpy as np
import pytest

from stages.person.estimator import Detection
from stages.person.plausible import body_fits, mesh_distance

# A face 10 wide: right eye, left eye, nose, mouth, right ear, left ear, as seen from the front.
FACE = np.array([[-2, 0], [2, 0], [0, 2], [0, 4], [-5, 1], [5, 1]], np.float32)
HEAD = Detection(np.array([-5, -4, 5, 6], np.float32), 0.9, FACE)


def _body(shoulders=22.0, down=12.0, torso=28.0):
    """A frontal body in BlazePose's numbering whose head sits on FACE."""
    pose = np.zeros((33, 4), np.float32)
    pose[[5, 2, 0, 8, 7], :2] = FACE[[0, 1, 2, 4, 5]]
    pose[[9, 10], :2] = FACE[3] + [[1, 0], [-1, 0]]
    pose[11, :2], pose[12, :2] = (shoulders / 2, down), (-shoulders / 2, down)
    pose[23, :2], pose[24, :2] = (shoulders / 3, down + torso), (-shoulders / 3, down + torso)
    return pose


def _turned(points, degrees):
    angle = np.radians(degrees)
    return points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], np.float32)


def test_a_body_below_its_face_fits():
    assert body_fits(_body(), HEAD)


@pytest.mark.parametrize("degrees", [-80, 40, 180])
def test_fit_does_not_depend_on_rotation(degrees):
    pose, points = _body(), _turned(FACE, degrees)
    pose[:, :2] = _turned(pose[:, :2], degrees)
    assert body_fits(pose, Detection(HEAD.box_C, 0.9, points))


def test_a_body_squeezed_into_the_head_does_not_fit():
    squeezed = _body()
    squeezed[:, :2] *= 0.25
    assert not body_fits(squeezed, HEAD)


def test_another_persons_body_does_not_fit():
    other = _body()
    other[:, 0] += 40
    assert not body_fits(other, HEAD)


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({"down": 2.0}, False),  # shoulders above the mouth
        ({"shoulders": 70.0}, False),  # seven faces wide
        ({"shoulders": 3.0, "torso": 28.0}, True),  # seen from the side
        ({"shoulders": 3.0, "torso": 5.0}, False),
    ],
)
def test_shoulders_and_torso_go_with_the_face(change, fits):
    assert body_fits(_body(**change), HEAD) is fits


def test_nothing_fits_a_head_without_points():
    assert not body_fits(_body(), Detection(HEAD.box_C, 0.9))


def test_mesh_distance_is_in_face_widths():
    mesh = np.zeros((478, 3), np.float32)
    mesh[[468, 473, 4, 13, 234, 454], :2] = FACE
    assert mesh_distance(mesh, HEAD) == 0
    mesh[:, 0] += 5
    assert mesh_distance(mesh, HEAD) == pytest.approx(0.5)

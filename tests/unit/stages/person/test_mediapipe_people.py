"""The real models, on frames drawn by the project."""

import subprocess
import sys

import numpy as np
import pytest

from schemas.skeleton import FULL_FRAME, NO_BODY
from stages.person.backends import estimator_for
from stages.person.coco_wholebody import BODY, LEFT_HAND, LEFT_SHOULDER, RIGHT_HAND, RIGHT_SHOULDER
from stages.person.estimator import EstimatorConfig
from wanprep.sample.clip import Look, plan_clip, render_frames

SIZE = (640, 480)


@pytest.fixture(scope="module")
def drawn():
    _, poses = plan_clip(1.0, 25, 1, Look())
    return [np.ascontiguousarray(frame) for frame in render_frames(poses[::15], size=SIZE)]


@pytest.fixture(scope="module")
def estimator():
    estimator = estimator_for(EstimatorConfig())
    estimator.load()
    return estimator


def test_a_drawn_person_is_measured_whole(estimator, drawn):
    (person,) = estimator.people(drawn[0], segmentation=True)
    assert person.status == FULL_FRAME
    assert person.head.score > 0.5
    keypoints = person.keypoints_KC
    assert (keypoints[BODY, 2] > 0).all()
    assert (keypoints[LEFT_HAND, 2] > 0).all()
    assert (keypoints[RIGHT_HAND, 2] > 0).all()
    # The figure faces us: its left shoulder is on the right of the picture, below its head.
    assert keypoints[LEFT_SHOULDER, 0] > person.head.centre[0] > keypoints[RIGHT_SHOULDER, 0]
    assert keypoints[LEFT_SHOULDER, 1] > person.head.box_C[3]
    mesh = person.mesh_KC
    assert mesh is not None
    assert np.abs(mesh[:, :2].mean(0) - person.head.centre).max() < 0.3 * person.head.width
    inside = person.segmentation.probability_HW >= 128
    assert inside.shape == SIZE[::-1]
    assert 0.05 < inside.mean() < 0.8
    x, y = keypoints[[LEFT_SHOULDER, RIGHT_SHOULDER], :2].mean(0).astype(int)
    assert inside[y, x]


def test_a_frame_does_not_depend_on_the_one_before(estimator, drawn):
    """Holistic's static mode by itself follows hands and face from frame to frame."""
    first = estimator.people(drawn[0], segmentation=True)[0]
    estimator.people(drawn[1], segmentation=True)
    again = estimator.people(drawn[0], segmentation=True)[0]
    np.testing.assert_array_equal(first.keypoints_KC, again.keypoints_KC)
    np.testing.assert_array_equal(first.mesh_KC, again.mesh_KC)
    np.testing.assert_array_equal(first.segmentation.probability_HW, again.segmentation.probability_HW)


def test_segmentation_leaves_the_points_as_they_are(estimator, drawn):
    estimator.people(drawn[1])
    (plain,) = estimator.people(drawn[0])
    (shown,) = estimator.people(drawn[0], segmentation=True)
    assert plain.segmentation is None
    np.testing.assert_array_equal(plain.keypoints_KC, shown.keypoints_KC)


def test_two_people_are_told_apart(estimator, drawn):
    half = [frame[:, 120:520] for frame in drawn]
    people = estimator.people(np.ascontiguousarray(np.hstack(half)))
    assert len(people) == 2
    left, right = sorted(people, key=lambda person: person.head.centre[0])
    shift = right.head.centre[0] - left.head.centre[0]
    assert shift == pytest.approx(400, abs=40)
    for person in people:
        assert person.status != NO_BODY
        shoulders = person.keypoints_KC[[LEFT_SHOULDER, RIGHT_SHOULDER], 0].mean()
        assert shoulders == pytest.approx(person.head.centre[0], abs=60)


@pytest.mark.parametrize("size", [(64, 48), (301, 217), (480, 480)])
def test_nobody_in_noise_of_any_size(estimator, size):
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    assert estimator.people(noise, segmentation=True) == []
    assert estimator.people(np.zeros_like(noise)) == []


def test_loading_and_measuring_leave_the_error_stream_clean():
    code = (
        "import numpy as np; from stages.person.backends import *; from wanprep.sample.clip import *;"
        "_, poses = plan_clip(1.0, 25, 1, Look());"
        "frame = next(render_frames(poses, size=(320, 240)));"
        "e = estimator_for(EstimatorConfig()); e.load();"
        "assert e.people(np.ascontiguousarray(frame), segmentation=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""

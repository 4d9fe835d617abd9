"""Whom the person stages are about, and what they do with frames in which that person is not seen."""

from __future__ import annotations

import numpy as np
import pytest

from schemas.skeleton import FILLED_BODY, FILLED_FACE
from stages.person.coco_wholebody import TORSO
from wanprep.stage import Skipped


def _still(frame):
    return [(60.0, 20.0)]


def test_short_gaps_are_filled_and_flagged_in_skeleton_and_face(run):
    def script(frame):
        return [] if 5 <= frame < 9 or frame < 2 else [(40.0 + 4 * frame, 20.0)]

    records, _ = run(script, 15)
    skeleton, face = records["skeleton"], records["face"]
    gone = [0, 1, 5, 6, 7, 8]
    assert np.flatnonzero(face.filled_T).tolist() == gone
    assert np.flatnonzero(~face.valid_T).tolist() == gone
    wanted = FILLED_BODY | FILLED_FACE
    assert [int(flags) for flags in skeleton.filled_T] == [wanted if t in gone else 0 for t in range(15)]
    smooth = np.asarray(skeleton.keypoints_smooth_TKC)
    np.testing.assert_allclose(
        smooth[5:9, TORSO[0], 0], np.interp([5, 6, 7, 8], [4, 9], smooth[[4, 9], TORSO[0], 0]), rtol=1e-5
    )
    np.testing.assert_array_equal(smooth[0], smooth[2])
    assert not np.asarray(skeleton.keypoints_TKC)[gone].any()
    assert not np.asarray(skeleton.boxes_TC)[gone].any()
    assert (np.asarray(face.crop_boxes_TC)[:, 2:] > np.asarray(face.crop_boxes_TC)[:, :2]).all()
    assert (np.diff(np.asarray(face.boxes_TC)[2:, 0]) > 0).all()
    assert np.asarray(face.mesh_TKC)[7].any()
    assert not np.asarray(face.blink_T)[gone].any()
    assert skeleton.longest_gap == face.longest_gap == pytest.approx(4 / 25)
    for record in (skeleton, face):
        for column in record.tensor_columns():
            assert np.isfinite(np.asarray(getattr(record, column), np.float64)).all(), column


def test_long_gaps_are_kept_or_skip_the_clip(run):
    def script(frame):
        return [(60.0, 20.0)] if frame < 4 or frame >= 10 else []

    records, _ = run(script, 15, gaps={"fill_gaps": 0.2})
    skeleton = records["skeleton"]
    assert not skeleton.filled_T.any() and not records["face"].filled_T.any()
    assert not np.asarray(skeleton.keypoints_smooth_TKC)[4:10].any()
    assert skeleton.warnings == ["the person is not seen for 0.2 s on end: left empty there"]
    records, _ = run(script, 15, gaps={"fill_gaps": 0.2, "long_gaps": "skip"})
    assert records["skeleton"] == Skipped(
        "the person is not seen for longer than fill_gaps=0.2 seconds", pytest.approx(6 / 25)
    )
    assert records["face"].reason == "the face is not seen for longer than fill_gaps=0.2 seconds"
    records, _ = run(script, 15, gaps={"fill_gaps": 0.25, "long_gaps": "skip"})
    assert np.asarray(records["skeleton"].keypoints_smooth_TKC)[..., 2].any(1).all()


def test_a_face_turned_away_is_filled_where_it_is_short(run):
    records, _ = run(_still, 12, turned=range(4, 8))
    face, skeleton = records["face"], records["skeleton"]
    assert np.flatnonzero(face.filled_T).tolist() == [4, 5, 6, 7]
    assert (skeleton.filled_T == np.where(np.isin(np.arange(12), [4, 5, 6, 7]), FILLED_FACE, 0)).all()
    np.testing.assert_allclose(np.asarray(face.boxes_TC)[5], np.asarray(face.boxes_TC)[3], rtol=1e-5)


def _two(frame):
    return [(40.0, 22.0), (120.0, 16.0)]


@pytest.mark.parametrize(
    ("subject", "x"),
    [(1, 40), (2, 120), ([0.75, 0.2], 120), ([0.2, 0.1, 0.3, 0.25], 40), ([0.7, 0.3, 0.85, 0.95], 120)],
)
def test_skeleton_face_and_mask_are_about_the_subject_asked_for(run, subject, x):
    records, _ = run(_two, 6, settings={"subject": subject})
    skeleton = records["skeleton"]
    assert np.asarray(skeleton.keypoints_TKC)[:, list(TORSO), 0].mean() == pytest.approx(x)
    assert np.asarray(records["face"].points_TKC)[..., 0].mean() == pytest.approx(x, abs=3)
    assert np.nonzero(records["mask"].masks_THW()[3])[1].mean() * 2 == pytest.approx(x, abs=2)
    assert skeleton.people_max == 2
    (warning,) = skeleton.warnings
    assert warning.startswith("up to 2 people at once (2 followed), of whom track ")
    assert warning.endswith(f"track {skeleton.subject_track} was taken: estimator.subject chooses another")


def test_who_is_asked_for_is_measured_whoever_is_larger(run):
    def script(frame):
        return [(30.0, 22.0), (80.0, 20.0), (130.0, 14.0)]

    records, estimator = run(script, 5, settings={"max_people": 1, "subject": [0.8, 0.15]})
    assert estimator.measured == 5
    skeleton = records["skeleton"]
    assert np.asarray(skeleton.keypoints_TKC)[:, list(TORSO), 0].mean() == pytest.approx(130)
    assert skeleton.body_share == 1


def test_a_subject_that_nobody_is_skips_with_the_reason(run):
    records, _ = run(_two, 6, settings={"subject": [0.5, 0.9]})
    assert records["skeleton"] == Skipped("nobody is at estimator.subject=[0.5, 0.9]", 0.0)
    assert isinstance(records["face"], Skipped) and isinstance(records["mask"], Skipped)
    records, _ = run(_still, 6, settings={"subject": 2})
    assert records["skeleton"] == Skipped("estimator.subject=2, and fewer people were found", 0.0)


def test_one_person_needs_no_warning(run):
    records, _ = run(_still, 6)
    assert records["skeleton"].warnings == []

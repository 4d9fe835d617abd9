"""Skeleton, face and mask over an estimator that answers from a script."""

import subprocess
import sys

import numpy as np
import pytest
from helpers.people import HEIGHT, WIDTH, ScriptedEstimator, windows

from schemas import ClipRecord
from schemas.skeleton import FULL_FRAME, NO_BODY, UNVERIFIED
from stages.person.coco_wholebody import LEFT_HAND, TORSO
from stages.person.estimator import (
    EstimatorConfig,
)
from stages.person.face import Face, FaceConfig
from stages.person.mask import HULL, SEGMENTATION, Mask, MaskConfig
from stages.person.person_pass import PersonPass
from wanprep.stage import ClipContext, Skipped


def _still(frame):
    return [(60.0, 20.0)]


def test_three_stages_share_one_pass(run):
    records, estimator = run(_still, 20)
    assert (estimator.detected, estimator.measured, estimator.segmented) == (20, 20, 20)
    skeleton, face, mask = records["skeleton"], records["face"], records["mask"]
    assert skeleton.frames == face.frames == mask.frames == 20
    assert skeleton.body_share == face.face_share == skeleton.face_share == 1
    assert skeleton.left_hand_share == 0
    assert (np.asarray(skeleton.status_T) == FULL_FRAME).all()
    assert (mask.quality_T == SEGMENTATION).all()


def test_no_segmentation_unless_the_mask_is_wanted(run):
    records, estimator = run(_still, 5, stages=("skeleton", "face"))
    assert estimator.segmented == 0
    with_mask, _ = run(_still, 5)
    np.testing.assert_array_equal(records["skeleton"].keypoints_TKC, with_mask["skeleton"].keypoints_TKC)


def test_points_are_in_source_pixels(run):
    small, _ = run(_still, 4)
    large, _ = run(_still, 4, scale=3)
    assert (large["skeleton"].width, large["skeleton"].height) == (WIDTH * 3, HEIGHT * 3)
    factor = np.array([3, 3, 1], np.float32)
    np.testing.assert_allclose(
        np.asarray(large["skeleton"].keypoints_TKC),
        np.asarray(small["skeleton"].keypoints_TKC) * factor,
        rtol=1e-6,
    )
    np.testing.assert_allclose(large["skeleton"].boxes_TC, small["skeleton"].boxes_TC * 3, rtol=1e-6)
    np.testing.assert_allclose(large["face"].mesh_pixels_TKC(), small["face"].mesh_pixels_TKC() * 3, atol=0.2)
    np.testing.assert_array_equal(large["mask"].masks_THW(), small["mask"].masks_THW())


def test_the_window_size_does_not_change_a_result(run):
    def script(frame):
        return [(40.0 + 2 * frame, 20.0)] + ([(120.0, 16.0)] if frame % 3 else [])

    one, _ = run(script, 23, size=1)
    other, _ = run(script, 23, size=16)
    for name, columns in (
        ("skeleton", ("keypoints_TKC", "keypoints_smooth_TKC", "boxes_TC", "status_T")),
        ("face", ("mesh_TKC", "points_TKC", "head_pose_TC", "crop_boxes_TC", "blink_T")),
        ("mask", ("blocks", "offsets_T", "coverage_T")),
    ):
        for column in columns:
            np.testing.assert_array_equal(
                np.asarray(getattr(one[name], column)),
                np.asarray(getattr(other[name], column)),
                err_msg=column,
            )


def test_the_subject_is_the_largest_over_time(run):
    def script(frame):  # the larger head comes late, for a few frames
        return [(40.0, 16.0)] + ([(120.0, 22.0)] if frame >= 16 else [])

    records, _ = run(script, 20)
    skeleton = records["skeleton"]
    assert skeleton.subject_track == 0
    assert skeleton.people_max == 2
    assert [row["frames"] for row in skeleton.tracks] == [20, 4]
    assert skeleton.tracks[1]["mean_area"] == pytest.approx(22**2)
    assert np.asarray(skeleton.keypoints_TKC)[:, list(TORSO), 0].mean() == pytest.approx(40)
    records, _ = run(script, 40)
    assert records["skeleton"].subject_track == 1
    assert np.flatnonzero(np.asarray(records["skeleton"].status_T)).tolist() == list(range(16, 40))


def test_frames_without_the_subject_are_zeros(run):
    def script(frame):
        return [] if 5 <= frame < 9 or frame < 2 else [(60.0, 20.0)]

    records, _ = run(script, 15, gaps={"fill_gaps": 0})
    skeleton, face, mask = records["skeleton"], records["face"], records["mask"]
    absent = [0, 1, 5, 6, 7, 8]
    assert np.flatnonzero(np.asarray(skeleton.status_T) == NO_BODY).tolist() == absent
    assert len(skeleton.tracks) == 1
    for record in records.values():
        for column in record.tensor_columns():
            values = np.asarray(getattr(record, column))
            assert np.isfinite(values).all(), column
            if values.shape[0] == 15:
                assert not values[absent].any(), column
    assert skeleton.body_share == pytest.approx(9 / 15)
    assert face.face_share == pytest.approx(9 / 15)
    masks = mask.masks_THW()
    assert not masks[absent].any()
    assert masks[10].any()
    assert mask.coverage_T[10] == pytest.approx(masks[10].mean())


def test_smoothed_points_do_not_reach_over_a_gap(run):
    def script(frame):
        return [] if frame == 6 else [(40.0 if frame < 6 else 50.0, 20.0)]

    records, _ = run(script, 12)
    skeleton = records["skeleton"]
    smooth, measured = (np.asarray(skeleton.keypoints_smooth_TKC), np.asarray(skeleton.keypoints_TKC))
    seen = np.arange(12) != 6
    np.testing.assert_allclose(smooth[seen], measured[seen], rtol=1e-6)
    np.testing.assert_allclose(smooth[6], (measured[5] + measured[7]) / 2, rtol=1e-6)


def test_nobody_is_skipped_with_a_reason(run):
    records, _ = run(lambda frame: [], 6)
    assert records == {
        "skeleton": Skipped("no person found", 0.0),
        "face": Skipped("no face found", 0.0),
        "mask": Skipped("the mask is empty", 0.0),
    }


def test_a_face_without_a_body(run):
    records, _ = run(_still, 6, body=False)
    assert records["skeleton"].body_share == 0
    assert records["skeleton"].face_share == 1
    assert records["face"].face_share == 1
    assert records["mask"] == Skipped("the mask is empty", 0.0)


def test_a_body_without_a_face(run):
    records, _ = run(_still, 6, face=False)
    assert records["face"] == Skipped("no face found", 0.0)
    assert records["skeleton"].body_share == 1


def test_a_turned_back_stays_the_same_person(run):
    records, _ = run(_still, 12, turned=range(4, 8))
    skeleton = records["skeleton"]
    assert len(skeleton.tracks) == 1
    assert np.flatnonzero(np.asarray(skeleton.status_T) == UNVERIFIED).tolist() == [4, 5, 6, 7]
    assert skeleton.body_share == 1
    assert np.flatnonzero(~records["face"].valid_T).tolist() == [4, 5, 6, 7]


def test_a_hull_stands_in_for_a_missing_segmentation(run):
    records, _ = run(_still, 6, segmentation=False)
    mask = records["mask"]
    assert (mask.quality_T == HULL).all()
    torso = mask.masks_THW()[3, 20:55, 20:40]
    assert torso.all()


def test_the_mask_lies_on_its_own_frame(run):
    def script(frame):
        return [(30.0 + 4 * frame, 20.0)]

    records, _ = run(script, 20)
    masks = records["mask"].masks_THW()
    for t in range(1, 19):  # the median over time needs both neighbours
        centre = np.nonzero(masks[t])[1].mean()
        assert centre == pytest.approx((30 + 4 * t) / 2, abs=1)


def test_people_do_not_share_mask_pixels(run):
    def script(frame):
        return [(60.0, 20.0), (80.0, 24.0)]

    records, _ = run(script, 6)
    masks = records["mask"].masks_THW()
    assert records["skeleton"].subject_track == 1
    assert masks[3].any()
    # Both are certain where they overlap, which the one measured first wins: the subject, for its larger head. At
    # its own soft edge the other one is more probable.
    columns = np.flatnonzero(masks[3].any(0))
    assert (80 - 24) / 2 <= columns[0] < (60 + 20) / 2 - 4
    assert columns[-1] == pytest.approx((80 + 24) / 2, abs=1)


def test_at_most_max_people_are_measured(run):
    def script(frame):
        return [(30.0, 16.0), (80.0, 20.0), (130.0, 18.0)]

    records, estimator = run(script, 5, settings={"max_people": 1})
    assert estimator.measured == 5
    skeleton = records["skeleton"]
    assert (len(skeleton.tracks), skeleton.people_max, skeleton.subject_track) == (3, 3, 1)


def test_the_mesh_can_be_left_out(tmp_path):
    config = EstimatorConfig(long_side=WIDTH)
    context = ClipContext(ClipRecord(clip_id="c", recipe="r"), {}, tmp_path)
    context.shared(("person", config), lambda: PersonPass(config, ScriptedEstimator(config, _still)))
    fold = Face(FaceConfig(estimator=config, mesh=False)).begin(context, {})
    for window in windows(3):
        fold.add(window)
    record = fold.finish({})
    assert record.mesh_TKC is None
    assert np.asarray(record.points_TKC).shape == (3, 68, 2)
    context.close()


def test_windows_out_of_order_are_refused():
    config = EstimatorConfig(long_side=WIDTH)
    person_pass = PersonPass(config, ScriptedEstimator(config, _still))
    _, second = list(windows(14))
    with pytest.raises(ValueError, match="expected frame 0 and was given frame 7"):
        person_pass.people(second)


def test_a_failed_pass_fails_alike_for_every_stage_that_shares_it():
    """The second stage was told that the windows came in the wrong order, which hid what had happened."""
    config = EstimatorConfig(long_side=WIDTH)

    def breaks_at_2(frame):
        if frame == 2:
            raise RuntimeError("out of tensors")
        return _still(frame)

    person_pass = PersonPass(config, ScriptedEstimator(config, breaks_at_2))
    (window,) = list(windows(5))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="out of tensors"):
            person_pass.people(window)


def test_hands_count_for_their_own_side(run, monkeypatch):
    measure = ScriptedEstimator.measure

    def with_left_hand(self, frame_HWC, head, **options):
        person = measure(self, frame_HWC, head, **options)
        if self.measured <= 3:
            person.keypoints_KC[LEFT_HAND] = (50, 60, 0.7)
        return person

    monkeypatch.setattr(ScriptedEstimator, "measure", with_left_hand)
    records, _ = run(_still, 6)
    assert records["skeleton"].left_hand_share == 0.5
    assert records["skeleton"].right_hand_share == 0


def test_planning_does_not_import_mediapipe():
    code = (
        "import sys; from stages.person.skeleton import *; from stages.person.face import *; "
        "from stages.person.mask import *; s = Skeleton(SkeletonConfig()); "
        "assert s.unavailable() is None; assert s.models() == {'mediapipe': '0.10.21'}; "
        "sys.exit('mediapipe' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_missing_backend_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    reason = Mask(MaskConfig()).unavailable()
    assert reason is not None
    assert "pip install 'mediapipe==0.10.21'" in reason
    assert "\n" not in reason

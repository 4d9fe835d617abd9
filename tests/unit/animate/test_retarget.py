"""Retargeting made robust: proportions reached, and nothing led astray by one frame, one side or a missing joint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wanprep.animate.pose import Pose
from wanprep.animate.retarget import Retargeted, fit, move, retarget
from wanprep.animate.retarget.fit import CHILDREN, PARENTS, Framing, lengths
from wanprep.media.draw import CONFIDENCE_THRESHOLD
from wanprep.media.wan_body import BODY_POINT_NAMES

SOURCE, CANVAS = (832, 480), (464, 832)
POINT = {name: index for index, name in enumerate(BODY_POINT_NAMES)}
RIGHT_WRIST, LEFT_WRIST = POINT["right_wrist"], POINT["left_wrist"]
# A standing person of height 1 about the origin: x, y in the order of the points.
STANDING = np.array([
    (0, -.42), (0, -.3), (-.1, -.3), (-.15, -.15), (-.2, 0), (.1, -.3), (.15, -.15), (.2, 0),
    (-.06, 0), (-.07, .22), (-.08, .44), (.06, 0), (.07, .22), (.08, .44),
    (-.02, -.45), (.02, -.45), (-.05, -.44), (.05, -.44), (.12, .5), (-.12, .5),
])  # fmt: skip
HAND = np.stack([np.linspace(0, 0.05, 21), np.linspace(0, 0.06, 21)], axis=1)


def person(
    size: tuple[int, int], height: float, frames: int = 1, legs: float = 1.0, sway: float = 0.0
) -> Pose:
    """A person of `height` pixels in the middle of each frame; `legs` are that much longer."""
    figure_KC = STANDING.copy()
    low_K = figure_KC[:, 1] > 0
    figure_KC[low_K, 1] *= legs
    at_TC = np.array([[size[0] / 2 + sway * frame, size[1] / 2] for frame in range(frames)])
    body_TKC = figure_KC * height + at_TC[:, None]
    hands = [body_TKC[:, wrist, None] + HAND * height for wrist in (LEFT_WRIST, RIGHT_WRIST)]
    left, right = (part_TKC / size for part_TKC in hands)
    return Pose(
        size,
        sure(body_TKC / size),
        sure(left),
        sure(right),
        np.zeros((frames, 69, 3), np.float32),
        np.zeros(frames, bool),
    )


def sure(points_TKC: np.ndarray) -> np.ndarray:
    return np.concatenate([points_TKC, np.ones((*points_TKC.shape[:2], 1))], axis=2).astype(np.float32)


def pixels(pose: Pose) -> np.ndarray:
    return pose.pixels(pose.body_TKC)


def is_finite(moved: Retargeted) -> bool:
    return all(
        np.isfinite(part).all() for part in (moved.body_TKC, moved.left_hand_TKC, moved.right_hand_TKC)
    )


def test_the_same_person_stays_as_it_is() -> None:
    driving = person(SOURCE, 300, frames=4, sway=5)
    moved = retarget(driving, driving[:1])
    assert moved.canvas == SOURCE
    np.testing.assert_allclose(moved.body_TKC, pixels(driving), atol=1e-3)
    np.testing.assert_allclose(moved.right_hand_TKC, driving.pixels(driving.right_hand_TKC), atol=1e-3)
    np.testing.assert_allclose(moved.left_hand_TKC, driving.pixels(driving.left_hand_TKC), atol=1e-3)


def test_the_character_gets_its_own_limbs_where_it_stands() -> None:
    driving, reference = person(SOURCE, 300, frames=3, sway=10), person(CANVAS, 500, legs=1.3)
    moved = retarget(driving, reference)
    wanted_N = lengths(pixels(reference)[0])
    feet = [POINT["left_toe"], POINT["right_toe"]]
    limbs_N = ~np.isin(CHILDREN, feet)  # a foot is at most half a shin
    for body_KC in moved.body_TKC:
        np.testing.assert_allclose(lengths(body_KC)[limbs_N], wanted_N[limbs_N], rtol=2e-3)
    ankles = [POINT["left_ankle"], POINT["right_ankle"]]
    np.testing.assert_allclose(
        moved.body_TKC[0, ankles, 1].max(), pixels(reference)[0, ankles, 1].max(), atol=2
    )
    np.testing.assert_allclose(moved.body_TKC[0, POINT["neck"], 0], CANVAS[0] / 2, atol=1e-3)
    assert (np.diff(moved.body_TKC[:, POINT["neck"], 0]) > 5).all()


def test_a_bad_first_frame_does_not_set_the_proportions() -> None:
    driving, reference = person(SOURCE, 300, frames=9), person(CANVAS, 500)
    side = driving.body_TKC.copy()
    middle = side[0, POINT["neck"], 0]
    side[0, :, 0] = middle + (side[0, :, 0] - middle) * 0.2  # seen from the side
    turned = replace(driving, body_TKC=side)
    robust = [fit(pose, reference).ratios_N for pose in (driving, turned)]
    official = [fit(pose, reference, compat="official").ratios_N for pose in (driving, turned)]
    np.testing.assert_allclose(robust[1], robust[0], rtol=0.02)
    assert official[1].max() > 3 * official[0].max()


def test_limbs_that_point_at_the_camera_in_most_frames_are_not_lengthened() -> None:
    driving, reference = person(SOURCE, 300, frames=10), person(CANVAS, 500)
    body = driving.body_TKC.copy()
    for elbow, wrist in (("right_elbow", RIGHT_WRIST), ("left_elbow", LEFT_WRIST)):
        arm = body[:6, wrist, :2] - body[:6, POINT[elbow], :2]
        body[:6, wrist, :2] -= 0.6 * arm
    pointing = replace(driving, body_TKC=body)
    whole_N = fit(driving, reference).ratios_N
    np.testing.assert_allclose(fit(pointing, reference).ratios_N, whole_N, rtol=1e-5)
    assert fit(pointing, reference, compat="official").ratios_N.max() > 2 * whole_N.max()


def test_unsure_joints_of_the_reference_take_the_other_side_or_the_median() -> None:
    driving, reference = person(SOURCE, 300, frames=3), person(CANVAS, 500)
    wanted_N = fit(driving, reference).ratios_N
    body = reference.body_TKC.copy()
    body[0, RIGHT_WRIST] = (0.99, 0.01, 0.1)  # somewhere
    np.testing.assert_allclose(fit(driving, replace(reference, body_TKC=body)).ratios_N, wanted_N, rtol=1e-5)
    body[0, [POINT[name] for name in BODY_POINT_NAMES if "ankle" in name or "toe" in name]] = 0
    half = fit(driving, replace(reference, body_TKC=body))
    assert half.framing is Framing.THREE_QUARTER_BODY
    assert (half.ratios_N > 0.8 * wanted_N.min()).all()
    assert (half.ratios_N < 1.25 * wanted_N.max()).all()


def test_ratios_stay_near_their_median() -> None:
    driving, reference = person(SOURCE, 300, frames=3), person(CANVAS, 500)
    body = reference.body_TKC.copy()
    body[0, [RIGHT_WRIST, LEFT_WRIST], 1] += 5.0
    ratios_N = fit(driving, replace(reference, body_TKC=body)).ratios_N
    assert ratios_N.max() <= 2 * np.median(ratios_N) + 1e-9


@pytest.mark.parametrize("name", ["neck", "right_elbow", "left_knee", "nose"])
def test_what_hangs_on_a_missing_joint_stays_with_the_body(name: str) -> None:
    driving, reference = person(SOURCE, 300, frames=5), person(CANVAS, 450)
    whole = retarget(driving, reference).body_TKC
    body = driving.body_TKC.copy()
    body[2, POINT[name]] = 0
    moved = retarget(replace(driving, body_TKC=body), reference)
    there_K = moved.body_TKC[2, :, 2] >= CONFIDENCE_THRESHOLD
    assert there_K.sum() == 19
    assert is_finite(moved)
    np.testing.assert_allclose(moved.body_TKC[2, there_K, :2], whole[2, there_K, :2], atol=12)
    np.testing.assert_allclose(np.delete(moved.body_TKC, 2, axis=0), np.delete(whole, 2, axis=0), atol=3)


def test_exchanged_hands_come_to_the_wrists_of_their_own_arm() -> None:
    driving, reference = person(SOURCE, 300, frames=3), person(CANVAS, 450)
    right, left = driving.right_hand_TKC.copy(), driving.left_hand_TKC.copy()
    right[1], left[1] = driving.left_hand_TKC[1], driving.right_hand_TKC[1]
    swapped = replace(driving, right_hand_TKC=right, left_hand_TKC=left)
    moved = retarget(swapped, reference)
    np.testing.assert_allclose(moved.right_hand_TKC[:, 0, :2], moved.body_TKC[:, RIGHT_WRIST, :2], atol=1e-6)
    np.testing.assert_allclose(moved.left_hand_TKC[:, 0, :2], moved.body_TKC[:, LEFT_WRIST, :2], atol=1e-6)
    official = retarget(swapped, reference, compat="official")
    away = np.abs(official.right_hand_TKC[1, 0, :2] - official.body_TKC[1, RIGHT_WRIST, :2]).max()
    assert away > 50


def test_folded_hands_keep_their_sides() -> None:
    driving, reference = person(SOURCE, 300), person(CANVAS, 450)
    body = driving.body_TKC.copy()
    body[0, LEFT_WRIST, :2] = body[0, RIGHT_WRIST, :2] + [0.01, 0]
    left, right = (
        sure(body[:, wrist, None, :2] + HAND * 300 / SOURCE) for wrist in (RIGHT_WRIST, LEFT_WRIST)
    )
    folded = replace(
        driving, body_TKC=body, left_hand_TKC=left, right_hand_TKC=right * np.float32([1, 1, 0.9])
    )
    moved = retarget(folded, reference)
    np.testing.assert_allclose(moved.right_hand_TKC[0, :, 2], 0.9, rtol=1e-6)
    np.testing.assert_allclose(moved.left_hand_TKC[0, :, 2], 1)


def test_a_single_hand_at_the_other_wrist_changes_sides() -> None:
    driving, reference = person(SOURCE, 300), person(CANVAS, 450)
    lone = replace(
        driving, right_hand_TKC=driving.left_hand_TKC, left_hand_TKC=np.zeros_like(driving.left_hand_TKC)
    )
    moved = retarget(lone, reference)
    assert not moved.right_hand_TKC.any()
    np.testing.assert_allclose(moved.left_hand_TKC[0, 0, :2], moved.body_TKC[0, LEFT_WRIST, :2], atol=1e-6)


def test_a_hand_without_root_or_wrist_stays_on_the_arm_and_without_both_is_left_out() -> None:
    driving, reference = person(SOURCE, 300, frames=3), person(CANVAS, 450)
    whole = retarget(driving, reference)
    right, body = driving.right_hand_TKC.copy(), driving.body_TKC.copy()
    right[[0, 2], 0, 2] = 0.1
    body[[1, 2], RIGHT_WRIST] = 0
    moved = retarget(replace(driving, right_hand_TKC=right, body_TKC=body), reference)
    for frame in (0, 1):
        np.testing.assert_allclose(moved.right_hand_TKC[frame, 1:], whole.right_hand_TKC[frame, 1:], atol=4)
    assert not moved.right_hand_TKC[2].any()


def test_nobody_anywhere_is_no_failure() -> None:
    empty = Pose(
        SOURCE,
        *(np.zeros((3, count, 3), np.float32) for count in (20, 21, 21, 69)),
        np.ones(3, bool),
    )
    for driving, reference in (
        (empty, person(CANVAS, 450)),
        (person(SOURCE, 300, 3), empty[:1]),
        (empty, empty[:1]),
    ):
        moved = retarget(driving, reference)
        assert is_finite(moved)
        assert moved.picture(0).shape == (reference.size[1], reference.size[0], 3)


def test_whatever_is_missing_nothing_that_is_not_finite_comes_out() -> None:
    rng = np.random.default_rng(8)
    for _ in range(60):
        driving, reference = person(SOURCE, 300, frames=6, sway=4), person(CANVAS, 450, legs=0.8)
        parts = {}
        for part in ("body_TKC", "left_hand_TKC", "right_hand_TKC"):
            points = getattr(driving, part).copy()
            lost = rng.random(points.shape[:2]) < rng.uniform(0, 1)
            points[lost] = rng.choice([0.0, np.nan, np.inf])
            parts[part] = points
        body = reference.body_TKC.copy()
        body[:, rng.random(20) < rng.uniform(0, 1)] = rng.choice([0.0, np.nan])
        found = fit(replace(driving, **parts), replace(reference, body_TKC=body))
        assert np.isfinite([found.scale, *found.ratios_N, *found.shift]).all()
        assert found.ratios_N.min() > 0
        assert is_finite(move(found, replace(driving, **parts)))


def test_a_clip_moved_in_pieces_is_the_clip_moved_whole() -> None:
    driving, reference = person(SOURCE, 300, frames=6, sway=8), person(CANVAS, 450)
    found = fit(driving, reference)
    whole = move(found, driving)
    pieces = [move(found, driving[start : start + 2]) for start in (0, 2, 4)]
    np.testing.assert_array_equal(np.concatenate([piece.body_TKC for piece in pieces]), whole.body_TKC)


@pytest.mark.parametrize("compat", ["official", "robust"])
def test_limbs_are_measured_on_edited_pictures(compat: str) -> None:
    driving, reference = person(SOURCE, 300, frames=3), person(CANVAS, 450)
    edited = (person(SOURCE, 280), person(CANVAS, 400, legs=1.5))
    plain, measured = (fit(driving, reference, pair, compat=compat) for pair in (None, edited))
    thighs = [int(limb) for limb in range(19) if PARENTS[limb] in (POINT["left_hip"], POINT["right_hip"])]
    arms = [int(limb) for limb in range(19) if CHILDREN[limb] in (RIGHT_WRIST, LEFT_WRIST)]
    gain_N = measured.ratios_N / plain.ratios_N
    assert (gain_N[thighs] > 1.2 * gain_N[arms]).all()
    assert (measured.scale, measured.shift[0]) == pytest.approx((plain.scale, plain.shift[0]), abs=1e-3)


def test_officially_an_edited_half_body_is_sized_by_head_and_shoulders() -> None:
    unseen = [
        index
        for name, index in POINT.items()
        if any(part in name for part in ("hip", "knee", "ankle", "toe"))
    ]

    def half(pose: Pose) -> Pose:
        body = pose.body_TKC.copy()
        body[:, unseen, 2] = 0.1
        return replace(pose, body_TKC=body)

    driving, reference = half(person(SOURCE, 300)), half(person(CANVAS, 450))
    smaller = (half(person(SOURCE, 150)), half(person(CANVAS, 300)))
    plain = fit(driving, reference, compat="official").ratios_N
    np.testing.assert_allclose(fit(driving, reference, smaller, "official").ratios_N, plain, rtol=0.01)


def test_poses_without_frames_are_refused() -> None:
    driving = person(SOURCE, 300)
    with pytest.raises(ValueError, match="without frames"):
        fit(driving[:0], driving)
    with pytest.raises(ValueError, match="without frames"):
        move(fit(driving, driving), driving[:0])

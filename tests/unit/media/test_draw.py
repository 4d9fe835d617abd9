"""The official skeleton picture pixel for pixel, and drawing that survives whatever keypoints it is given."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wanprep.media.draw import (
    draw_body_and_hands,
    draw_box,
    draw_face_points,
    draw_outline,
    draw_skeleton,
    flow_to_rgb,
)
from wanprep.media.wan_body import (
    BODY_POINT_NAMES,
    FACE,
    HAND_EDGES,
    LEFT_HAND,
    LIMBS,
    RIGHT_HAND,
    to_wan_body,
)

GOLDEN = Path(__file__).parents[2] / "data" / "animate"
INPUTS = np.load(GOLDEN / "skeleton_inputs.npz", allow_pickle=False)
CASES = sorted(path.stem.removeprefix("skeleton_") for path in GOLDEN.glob("skeleton_*.png"))
RED = (255, 0, 0)

Keypoints = NDArray[np.float32]


def black(height: int = 120, width: int = 160) -> NDArray[np.uint8]:
    return np.zeros((height, width, 3), np.uint8)


def standing(height: int = 480, width: int = 480) -> Keypoints:
    """A confident made-up person whose points all lie well inside the canvas."""
    rng = np.random.default_rng(7)
    keypoints_KC = np.ones((133, 3), np.float32)
    keypoints_KC[:, :2] = rng.uniform(0.2, 0.8, (133, 2)) * [width, height]
    return keypoints_KC


def golden_image(case: str) -> NDArray[Any]:
    image = cv2.imread(str(GOLDEN / f"skeleton_{case}.png"), cv2.IMREAD_COLOR)
    assert image is not None
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def test_golden_cases_are_there() -> None:
    assert len(CASES) >= 3


@pytest.mark.parametrize("case", CASES)
def test_skeleton_equals_the_golden_picture(case: str) -> None:
    width, height = INPUTS[f"{case}_wh"].tolist()
    canvas = black(height, width)
    assert draw_skeleton(canvas, INPUTS[f"{case}_kp133"]) is canvas
    np.testing.assert_array_equal(canvas, golden_image(case))


@pytest.mark.parametrize("case", CASES)
def test_body_and_hands_equal_the_golden_picture(case: str) -> None:
    width, height = INPUTS[f"{case}_wh"].tolist()
    body, left, right = (
        INPUTS[f"{case}_keypoints_{part}"] * np.array([width, height, 1.0])
        for part in ("body", "left_hand", "right_hand")
    )
    canvas = draw_body_and_hands(black(height, width), body, left, right)
    np.testing.assert_array_equal(canvas, golden_image(case))


@pytest.mark.parametrize("case", CASES)
def test_wan_body_equals_the_golden_body(case: str) -> None:
    width, height = INPUTS[f"{case}_wh"].tolist()
    fractions_KC = INPUTS[f"{case}_kp133"] / np.array([width, height, 1], np.float32)
    np.testing.assert_array_equal(to_wan_body(fractions_KC), INPUTS[f"{case}_keypoints_body"])


def test_wan_body_takes_the_mean_of_position_and_confidence() -> None:
    keypoints_KC = np.zeros((133, 3), np.float32)
    keypoints_KC[5], keypoints_KC[6] = (100, 40, 0.9), (60, 50, 0.5)
    body_20C = to_wan_body(keypoints_KC)
    np.testing.assert_allclose(body_20C[BODY_POINT_NAMES.index("neck")], (80, 45, 0.7))
    np.testing.assert_array_equal(body_20C[BODY_POINT_NAMES.index("left_shoulder")], keypoints_KC[5])


@pytest.mark.parametrize("absent", [(0.0, 0.0, 0.0), (np.nan, 10.0, 1.0), (10.0, 10.0, np.nan)])
def test_neck_is_missing_when_a_shoulder_is(absent: tuple[float, float, float]) -> None:
    keypoints_KC = standing()
    keypoints_KC[5], keypoints_KC[6] = (100, 40, 1.0), absent
    assert to_wan_body(keypoints_KC)[BODY_POINT_NAMES.index("neck"), 2] == 0


def test_limbs_and_hand_edges_form_trees() -> None:
    for edges, root, count in ((LIMBS, BODY_POINT_NAMES.index("neck"), 20), (HAND_EDGES, 0, 21)):
        reached = {root}
        for parent, child in edges:
            assert parent in reached and child not in reached
            reached.add(child)
        assert len(reached) == count


@pytest.mark.parametrize(("short_side", "radius"), [(300, 1), (480, 1), (720, 2), (1088, 4)])
def test_joint_radius_follows_the_short_side(short_side: int, radius: int) -> None:
    body_20C = np.zeros((20, 3))
    body_20C[0] = (100, 100, 1)
    for shape in ((short_side, short_side + 40), (short_side + 40, short_side)):
        canvas = draw_body_and_hands(black(*shape), body_20C)
        assert np.count_nonzero(canvas[100].any(axis=1)) == 2 * radius + 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, -1e9])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_point_that_is_nowhere_is_not_drawn(bad: float, axis: int) -> None:
    keypoints_KC = standing()
    keypoints_KC[:, axis] = bad
    assert not draw_skeleton(black(), keypoints_KC).any()
    assert not draw_face_points(black(), keypoints_KC).any()


@pytest.mark.parametrize("confidence", [0.0, 0.499, -1.0, np.nan])
def test_an_unsure_point_is_not_drawn(confidence: float) -> None:
    keypoints_KC = standing()
    keypoints_KC[:, 2] = confidence
    assert not draw_skeleton(black(480, 480), keypoints_KC).any()
    assert not draw_face_points(black(480, 480), keypoints_KC).any()


def test_one_unsure_point_takes_only_its_own_marks_away() -> None:
    keypoints_KC = standing()
    keypoints_KC[10, 2] = 0.49  # right wrist
    body_20C = to_wan_body(standing())
    body_20C[BODY_POINT_NAMES.index("right_wrist")] = np.nan
    left, right = keypoints_KC[LEFT_HAND], keypoints_KC[RIGHT_HAND]
    expected = draw_body_and_hands(black(480, 480), body_20C, left, right)
    np.testing.assert_array_equal(draw_skeleton(black(480, 480), keypoints_KC), expected)
    assert (expected != draw_skeleton(black(480, 480), standing())).any()


def test_points_outside_the_frame_are_clipped() -> None:
    keypoints_KC = standing()
    keypoints_KC[:, :2] = np.random.default_rng(3).uniform(-20000, 20000, (133, 2))
    draw_skeleton(black(), keypoints_KC)
    draw_face_points(black(), keypoints_KC)
    keypoints_KC[:, :2] = 30000
    assert not draw_skeleton(black(), keypoints_KC).any()


def test_a_hand_point_on_the_first_row_or_column_is_missing() -> None:
    nothing = np.zeros((20, 3))
    hand = np.zeros((21, 3))
    for x, y, drawn in ((0.9, 20, False), (20, 0.9, False), (-5, 20, False), (1, 1, True)):
        hand[0] = (x, y, 1)
        assert draw_body_and_hands(black(), nothing, hand).any() == drawn


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(width=32), min_size=12, max_size=12), st.integers(0, 2**32 - 1))
def test_no_keypoints_can_crash_the_drawing(values: list[float], seed: int) -> None:
    keypoints_KC = np.random.default_rng(seed).choice(np.array(values, np.float32), (133, 3))
    keypoints_KC[::2, 2] = 1
    draw_skeleton(black(), keypoints_KC)
    draw_face_points(black(), keypoints_KC)
    draw_box(black(), keypoints_KC.ravel()[:4], RED)


def test_skeleton_leaves_the_face_out_and_face_points_draw_only_it() -> None:
    without_face = standing()
    without_face[FACE] = 0
    np.testing.assert_array_equal(
        draw_skeleton(black(480, 480), standing()), draw_skeleton(black(480, 480), without_face)
    )
    assert not draw_face_points(black(480, 480), without_face).any()
    dots = draw_face_points(black(480, 480), standing(), RED)
    for x, y, _ in standing()[FACE]:
        assert dots[round(float(y)), round(float(x)), 0] > 100
    assert not dots[..., 1:].any()


def test_draws_into_a_window_of_a_larger_picture() -> None:
    keypoints_KC = standing(100, 100)
    sheet = black(100, 300)
    draw_skeleton(sheet[:, 100:200], keypoints_KC)
    np.testing.assert_array_equal(sheet[:, 100:200], draw_skeleton(black(100, 100), keypoints_KC))
    assert not sheet[:, :100].any() and not sheet[:, 200:].any()


def test_wrong_arrays_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="keypoints"):
        draw_skeleton(black(), np.zeros((20, 3), np.float32))
    with pytest.raises(ValueError, match="keypoints"):
        to_wan_body(np.zeros((133, 2), np.float32))
    with pytest.raises(ValueError, match="body"):
        draw_body_and_hands(black(), np.zeros((18, 3)))
    with pytest.raises(ValueError, match="hand"):
        draw_body_and_hands(black(), np.zeros((20, 3)), np.zeros((20, 3)))
    with pytest.raises(ValueError, match="canvas is float32"):
        draw_skeleton(np.zeros((8, 8, 3), np.float32), standing())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="in place"):
        draw_skeleton(black()[..., ::-1], standing())
    with pytest.raises(ValueError, match="mask"):
        draw_outline(black(), np.zeros((4, 4), np.bool_), RED)
    with pytest.raises(ValueError, match="box"):
        draw_box(black(), (1.0, 2.0, 3.0), RED)


def test_outline_runs_along_the_edge_and_round_holes() -> None:
    y, x = np.mgrid[:120, :160]
    distance = np.hypot(y - 60, x - 80)
    canvas = draw_outline(black(), (distance < 50) & (distance > 20), RED)
    marked = canvas.any(axis=2)
    assert np.all(np.minimum(abs(distance[marked] - 50), abs(distance[marked] - 20)) < 3.5)
    for radius in (50, 20):
        ring = marked & (abs(distance - radius) < 3.5)
        directions = np.degrees(np.arctan2(y - 60, x - 80)[ring]) % 360 // 10
        assert len(np.unique(directions)) == 36
    assert not canvas[..., 1:].any()


def test_outline_of_extreme_masks() -> None:
    assert not draw_outline(black(), np.zeros((120, 160), np.bool_), RED).any()
    border = draw_outline(black(), np.ones((120, 160), np.bool_), RED).any(axis=2)
    assert border[0, 5:-5].all() and border[5:-5, 0].all() and not border[5:-5, 5:-5].any()
    speck = np.zeros((120, 160), np.bool_)
    speck[30, 40] = True
    assert draw_outline(black(), speck, RED)[30, 40, 0] > 0


def test_box_has_exclusive_ends_and_bad_boxes_are_left_out() -> None:
    drawn = np.argwhere(draw_box(black(), (10.2, 20.0, 30.0, 60.4), RED).any(axis=2))
    assert drawn.min(axis=0).tolist() == [20, 10] and drawn.max(axis=0).tolist() == [59, 29]
    for box in ((np.nan, 0, 5, 5), (0, 0, np.inf, 5), (10, 10, 10, 20), (30, 30, 20, 40)):
        assert not draw_box(black(), box, RED).any()
    assert draw_box(black(), (-50.0, -50.0, 80.0, 60.0), RED).any()


def flow_colour(right: float, down: float) -> list[int]:
    colour: list[int] = flow_to_rgb(np.array([[[right, down]]], np.float32), 4.0)[0, 0].tolist()
    return colour


def test_flow_directions_have_their_own_colours() -> None:
    assert flow_colour(0, 0) == [255, 255, 255]
    assert flow_colour(4, 0) == [255, 0, 0]
    angles = np.radians(np.arange(0, 360, 15))
    colours = [tuple(flow_colour(4 * np.cos(angle), 4 * np.sin(angle))) for angle in angles]
    assert len(set(colours)) == len(colours)
    down, left, up = (flow_colour(*direction) for direction in ((0, 4), (-4, 0), (0, -4)))
    assert min(down[:2]) > 200 and down[2] == 0  # yellow
    assert left == [0, 197, 255]  # half a turn is 27.5 steps: cyan at 25, blue at 36
    assert up[1] == 0 and up[2] == 255  # blue to violet


def test_flow_colour_is_closed_and_grows_with_length() -> None:
    assert np.abs(np.subtract(flow_colour(4, 1e-4), flow_colour(4, -1e-4))).max() <= 1
    green = [flow_colour(length, 0)[1] for length in (0, 1, 2, 3, 4, 8)]
    assert green == sorted(green, reverse=True) and green[1:3] == [191, 128] and green[-2:] == [0, 0]


def test_flow_layouts_and_scales() -> None:
    flow_CHW = np.random.default_rng(0).normal(0, 3, (2, 24, 32)).astype(np.float32)
    image = flow_to_rgb(flow_CHW)
    assert image.shape == (24, 32, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(image, flow_to_rgb(flow_CHW.transpose(1, 2, 0)))
    np.testing.assert_array_equal(image, flow_to_rgb(flow_CHW * 5))
    assert flow_to_rgb(flow_CHW * 0.01).min() > 200  # noise far under a pixel stays pale


def test_unknown_flow_is_black_and_bad_flow_is_refused() -> None:
    flow_CHW = np.ones((2, 2, 3), np.float32)
    flow_CHW[0, 0, 0], flow_CHW[1, 0, 1] = np.nan, 1e10
    image = flow_to_rgb(flow_CHW)
    assert image.any(axis=2).tolist() == [[False, False, True], [True, True, True]]
    assert not flow_to_rgb(np.full((2, 3, 4), np.nan, np.float32)).any()
    with pytest.raises(ValueError, match="flow has shape"):
        flow_to_rgb(np.zeros((3, 4, 5), np.float32))
    for scale in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="scale"):
            flow_to_rgb(flow_CHW, scale)

"""Gaps over time: what is filled in, with what, and what is left."""

from __future__ import annotations

import numpy as np
import pytest

from stages.person.coco_wholebody import COUNT, FACE, LEFT_HAND, LEFT_WRIST, NOSE, RIGHT_HAND
from stages.person.gaps import (
    between,
    between_chunks,
    cuts_over_gaps,
    fill_chunks,
    fill_points,
    find_gaps,
    longest_gap,
)

NO_CUTS = np.zeros(12, bool)


def present(absent: list[int], frames: int = 12) -> np.ndarray:
    return ~np.isin(np.arange(frames), absent)


def points(frames: int = 12, speed: float = 2.0) -> np.ndarray:
    """Everything moves right by `speed` pixels a frame."""
    rng = np.random.default_rng(5)
    start_KC = np.concatenate([rng.uniform(50, 150, (COUNT, 2)), np.full((COUNT, 1), 0.8)], axis=1)
    moved_TKC = np.tile(start_KC, (frames, 1, 1))
    moved_TKC[..., 0] += speed * np.arange(frames)[:, None]
    return moved_TKC.astype(np.float32)


def test_short_gaps_are_interpolated_and_long_ones_left() -> None:
    values_T = np.arange(12, dtype=np.float32) * 10
    there_T = present([2, 3, 6, 7, 8])
    gaps = find_gaps(there_T, 2, NO_CUTS)
    assert np.flatnonzero(gaps.filled).tolist() == [2, 3]
    holed_T = np.where(there_T, values_T, 0)
    filled_T = between(holed_T, gaps)
    assert filled_T.tolist() == [0, 10, 20, 30, 40, 50, 0, 0, 0, 90, 100, 110]
    assert np.flatnonzero(find_gaps(there_T, 3, NO_CUTS).filled).tolist() == [2, 3, 6, 7, 8]


def test_the_clips_ends_are_held() -> None:
    there_T = present([0, 1, 10, 11])
    gaps = find_gaps(there_T, 2, NO_CUTS)
    filled_T = between(np.where(there_T, np.arange(12.0), -1), gaps)
    assert filled_T.tolist() == [2, 2, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9]
    assert not find_gaps(there_T, 1, NO_CUTS).filled.any()
    assert not find_gaps(there_T, 2, NO_CUTS, begins=False, ends=False).filled.any()


def test_nothing_at_all_stays_nothing() -> None:
    gaps = find_gaps(np.zeros(12, bool), 100, NO_CUTS)
    assert not gaps.filled.any()
    assert not between(np.zeros((12, 4)), gaps).any()
    assert longest_gap(np.zeros(12, bool)) == 12


def test_a_gap_with_a_cut_is_filled_from_either_side() -> None:
    there_T, cuts_T = present([4, 5, 6, 7]), NO_CUTS.copy()
    cuts_T[8] = True
    values_T = np.where(np.arange(12) < 6, 10.0, 90.0) * there_T
    filled_T = between(values_T, find_gaps(there_T, 4, cuts_T))
    assert set(filled_T.tolist()) == {10.0, 90.0}
    assert filled_T[4:8].tolist() == [10, 10, 90, 90]


def test_boxes_before_and_after_a_gap_tell_a_cut() -> None:
    boxes_TC = np.tile(np.array([10, 10, 50, 110], np.float32), (12, 1))
    boxes_TC[7:] += [300, 0, 300, 0]
    boxes_TC[5:7] = 0
    assert np.flatnonzero(cuts_over_gaps(boxes_TC)).tolist() == [7]
    assert not cuts_over_gaps(np.zeros((12, 4))).any()


def test_angles_take_the_short_way() -> None:
    there_T = present([1])[:3]
    gaps = find_gaps(there_T, 1, np.zeros(3, bool))
    assert between(np.array([[170.0], [0.0], [-170.0]]), gaps, 360)[1, 0] == pytest.approx(-180)


def test_the_longest_gap() -> None:
    assert longest_gap(present([])) == 0
    assert longest_gap(present([0, 4, 5, 6, 11])) == 3
    assert longest_gap(present([9, 10, 11])) == 3
    assert longest_gap(np.zeros(0, bool)) == 0


def test_each_point_is_filled_for_itself_and_flagged() -> None:
    whole_TKC = points()
    holed_TKC = whole_TKC.copy()
    holed_TKC[3:5, 7] = 0
    holed_TKC[6, RIGHT_HAND] = 0
    holed_TKC[8:12, 15] = 0
    filled_TKC, filled_TK = fill_points(holed_TKC, 3, NO_CUTS)
    wanted_TK = np.zeros((12, COUNT), bool)
    wanted_TK[3:5, 7] = wanted_TK[6, RIGHT_HAND] = True
    np.testing.assert_array_equal(filled_TK, wanted_TK)
    assert not filled_TKC[8:, 15].any()
    np.testing.assert_allclose(filled_TKC[wanted_TK], whole_TKC[wanted_TK], rtol=1e-5)
    untouched_TK = ~wanted_TK
    np.testing.assert_array_equal(filled_TKC[untouched_TK], holed_TKC[untouched_TK])


def test_a_hand_that_is_not_seen_goes_with_its_wrist() -> None:
    whole_TKC = points()
    swing_T = 40 * np.sin(np.arange(12) * np.pi / 4)
    for part in (slice(LEFT_WRIST, LEFT_WRIST + 1), LEFT_HAND):
        whole_TKC[:, part, 1] += swing_T[:, None].astype(np.float32)
    holed_TKC = whole_TKC.copy()
    holed_TKC[1:6, LEFT_HAND] = 0
    filled_TKC, _ = fill_points(holed_TKC, 10, NO_CUTS)
    np.testing.assert_allclose(filled_TKC[:, LEFT_HAND], whole_TKC[:, LEFT_HAND], atol=1e-3)
    # Without the wrist there is only the straight line.
    holed_TKC[:, LEFT_WRIST] = 0
    straight_TKC, _ = fill_points(holed_TKC, 10, NO_CUTS)
    middle_KC = (whole_TKC[0, LEFT_HAND] + whole_TKC[6, LEFT_HAND]) / 2
    np.testing.assert_allclose(straight_TKC[3, LEFT_HAND], middle_KC, atol=1e-3)


def test_a_gap_filled_a_piece_at_a_time_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    points_TKC = rng.uniform(1, 100, (90, COUNT, 3)).astype(np.float32)
    points_TKC[rng.uniform(size=(90, COUNT)) < 0.4] = 0
    for start, length, part in (
        (10, 7, FACE),
        (30, 12, LEFT_HAND),
        (55, 8, slice(None)),
        (0, 3, slice(None)),
    ):
        points_TKC[start : start + length, part] = 0
    points_TKC[20:26, NOSE] = 0
    cuts_T = np.isin(np.arange(90), [33, 58])
    whole_TKC, whole_TK = fill_points(points_TKC, 6, cuts_T)
    gaps = find_gaps(points_TKC[:, 0, 2] > 0, 6, cuts_T)
    for chunk in (1, 5, 13, 64):
        monkeypatch.setattr("stages.person.gaps._CHUNK", chunk)
        pieces = list(fill_chunks(lambda a, b: points_TKC[a:b], 90, 6, cuts_T))
        np.testing.assert_array_equal(np.concatenate([p for p, _ in pieces]), whole_TKC)
        np.testing.assert_array_equal(np.concatenate([f for _, f in pieces]), whole_TK)
        rows = np.concatenate(list(between_chunks(lambda a, b: points_TKC[a:b, 0], gaps, 6)))
        np.testing.assert_array_equal(rows, between(points_TKC[:, 0], gaps))
    assert np.isfinite(whole_TKC).all()
    assert whole_TK.any() and not whole_TK.all()

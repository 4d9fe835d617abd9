import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.person.smooth import REACH, cuts_of, smooth_chunks, smooth_TKC


def _walk(frames, points, seed, absent):
    """Random walks with a share of absent points, and random cuts."""
    rng = np.random.default_rng(seed)
    points_TKC = np.empty((frames, points, 3), np.float32)
    points_TKC[..., :2] = 500 + np.cumsum(rng.normal(0, 5, (frames, points, 2)), axis=0)
    points_TKC[..., 2] = rng.uniform(0.1, 1, (frames, points)) * (rng.random((frames, points)) >= absent)
    points_TKC[points_TKC[..., 2] == 0] = 0
    return points_TKC, rng.random(frames) < 0.1


def _jitter(points_TKC):
    """Root mean square second difference over frames that have the point three times in a row."""
    present = points_TKC[..., 2] > 0
    three = present[2:] & present[1:-1] & present[:-2]
    second = np.diff(points_TKC[..., :2].astype(float), n=2, axis=0)
    return np.sqrt((second**2).sum(-1)[three].mean())


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 60),
    chunk=st.integers(1, 20),
    seed=st.integers(0, 1000),
    absent=st.sampled_from([0.0, 0.2, 0.8]),
    sigma=st.sampled_from([0.0, 0.8, 2.0]),
)
def test_chunks_equal_the_whole(frames, chunk, seed, absent, sigma):
    points_TKC, cuts_T = _walk(frames, 3, seed, absent)
    whole = smooth_TKC(points_TKC, cuts_T, sigma)
    parts = list(smooth_chunks(lambda a, b: points_TKC[a:b], frames, cuts_T, sigma, chunk))
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@settings(max_examples=40, deadline=None)
@given(frames=st.integers(2, 40), seed=st.integers(0, 1000))
def test_result_lies_between_its_neighbours(frames, seed):
    points_TKC, cuts_T = _walk(frames, 2, seed, 0.3)
    smooth = smooth_TKC(points_TKC, cuts_T)
    present = points_TKC[..., 2] > 0
    assert np.isfinite(smooth).all()
    assert not smooth[~present].any()
    np.testing.assert_array_equal(smooth[..., 2], points_TKC[..., 2])
    for t, k in zip(*np.nonzero(present), strict=True):
        near = points_TKC[max(0, t - REACH) : t + REACH + 1, k]
        near = near[near[:, 2] > 0, :2]
        assert (smooth[t, k, :2] >= near.min(0) - 1e-3).all()
        assert (smooth[t, k, :2] <= near.max(0) + 1e-3).all()


def test_gaps_do_not_make_hands_jitter():
    """Zeros in gaps, filtered like positions, made hand jitter 5 to 10 times worse."""
    points_TKC, _ = _walk(200, 21, 0, 0.0)
    lost_T = np.random.default_rng(1).random(200) < 0.15
    points_TKC[lost_T] = 0
    raw = _jitter(points_TKC)
    assert _jitter(smooth_TKC(points_TKC)) < 0.6 * raw
    weights = np.exp(-0.5 * (np.arange(-4, 5) / 0.8) ** 2)
    plain = points_TKC.copy()
    for c in range(2):
        for k in range(21):
            plain[:, k, c] = np.convolve(points_TKC[:, k, c], weights / weights.sum(), "same")
    plain[lost_T] = 0
    assert _jitter(plain) > 5 * raw  # what the test is about does happen without care


@pytest.mark.parametrize("kind", ["gap", "cut"])
def test_nothing_crosses_a_gap_or_a_cut(kind):
    points_TKC = np.ones((20, 1, 3), np.float32)
    points_TKC[10:, 0, :2] = 1000
    cuts_T = np.zeros(20, bool)
    if kind == "gap":
        points_TKC[10] = 0
    else:
        cuts_T[10] = True
    smooth = smooth_TKC(points_TKC, cuts_T)
    assert (smooth[:10, 0, :2] == 1).all()
    assert (smooth[11:, 0, :2] == 1000).all()


def test_smoothing_does_not_lag():
    points_TKC = np.ones((41, 1, 3), np.float32)
    points_TKC[:, 0, 0] = np.exp(-0.5 * ((np.arange(41) - 20) / 3.0) ** 2)
    smooth = smooth_TKC(points_TKC)[:, 0, 0]
    np.testing.assert_allclose(smooth, smooth[::-1], atol=1e-6)
    assert smooth.argmax() == 20


def test_confident_neighbours_weigh_more():
    points_TKC = np.array([[[0, 0, 1]], [[10, 0, 0.1]], [[0, 0, 1]]], np.float32)
    doubtful = smooth_TKC(points_TKC)[1, 0, 0]
    points_TKC[1, 0, 2] = 1
    assert doubtful < 0.4 * smooth_TKC(points_TKC)[1, 0, 0]


def test_no_smoothing_leaves_points_as_they_are():
    points_TKC, _ = _walk(10, 3, 0, 0.3)
    np.testing.assert_allclose(smooth_TKC(points_TKC, sigma=0), points_TKC, rtol=1e-6)


def test_cut_is_a_jump_of_more_than_the_height_of_a_present_person():
    boxes_TC = np.array(
        [[0, 0, 10, 20], [5, 0, 15, 20], [40, 0, 50, 20], [0, 0, 0, 0], [0, 0, 10, 20]], np.float32
    )
    assert cuts_of(boxes_TC).tolist() == [False, False, True, False, False]
    assert cuts_of(boxes_TC[:1]).tolist() == [False]
    assert cuts_of(boxes_TC[:0]).tolist() == []

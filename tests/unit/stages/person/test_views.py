import numpy as np
import pytest

from stages.person import views
from stages.person.estimator import Detection


def _frame(height=60, width=100):
    return np.random.default_rng(0).integers(1, 255, (height, width, 3), dtype=np.uint8)


def _head(x, y, width=10.0, score=0.9):
    box = np.array([x - width / 2, y - width / 2, x + width / 2, y + width / 2], np.float32)
    return Detection(box, score)


def test_square_inside_the_frame_is_a_copy():
    frame = _frame()
    view = views.square(frame, (50, 30), 20)
    np.testing.assert_array_equal(view.picture_HWC, frame[20:40, 40:60])
    np.testing.assert_array_equal(view.box_C, [40, 20, 60, 40])


def test_square_is_black_beyond_the_frame():
    frame = _frame()
    view = views.square(frame, (0, 0), 20)
    np.testing.assert_array_equal(view.picture_HWC[10:, 10:], frame[:10, :10])
    assert not view.picture_HWC[:10].any()
    assert not view.picture_HWC[:, :10].any()


def test_square_entirely_outside_is_black():
    assert not views.square(_frame(), (500, 500), 20).picture_HWC.any()


@pytest.mark.parametrize(("least", "most", "shown"), [(1, 1000, 400), (512, 1000, 512), (1, 100, 100)])
def test_square_scales_within_its_limits(least, most, shown):
    view = views.square(_frame(), (50, 30), 400, least=least, most=most)
    assert view.picture_HWC.shape == (shown, shown, 3)
    assert view.width == view.height == 400


@pytest.mark.parametrize("most", [1000, 90])
def test_landmarks_return_to_the_frame(most):
    frame = np.zeros((300, 500, 3), np.uint8)
    frame[198:202, 318:322] = 255  # a dot centred on (320, 200)
    view = views.square(frame, (330, 190), 120, most=most)
    rows, columns = np.nonzero(view.picture_HWC[..., 0] > 100)
    side = len(view.picture_HWC)
    normalised = np.array([[(columns.mean() + 0.5) / side, (rows.mean() + 0.5) / side, 0.5]], np.float32)
    np.testing.assert_allclose(view.to_frame(normalised), [[320, 200, 60]], atol=1.5)


@pytest.mark.parametrize(
    ("width", "height", "count"),
    [(1280, 720, 3), (720, 1280, 3), (640, 480, 2), (500, 480, 0), (480, 480, 0)],
)
def test_tiles_cover_the_longer_side(width, height, count):
    found = views.tiles(np.zeros((height, width, 3), np.uint8))
    assert len(found) == count
    side = min(width, height)
    assert all(view.picture_HWC.shape == (side, side, 3) for view in found)
    if found:
        assert (found[0].x, found[0].y) == (0, 0)
        assert (found[-1].box_C[2:] == [width, height]).all()


def test_merge_keeps_the_better_of_two_close_detections():
    first, second, other = _head(50, 50, score=0.6), _head(53, 50, score=0.8), _head(80, 50, score=0.7)
    assert views.merge([[first], [other, second]]) == [second, other]

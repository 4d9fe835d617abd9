import numpy as np

from schemas.skeleton import FULL_FRAME
from stages.person import matte
from stages.person.coco_wholebody import COUNT, TORSO
from stages.person.estimator import Detection, PersonFrame, Segmentation


def _torso(x0, y0, x1, y1):
    keypoints = np.zeros((COUNT, 3), np.float32)
    for index, corner in zip(TORSO, [(x1, y0), (x0, y0), (x0, y1), (x1, y1)], strict=True):
        keypoints[index] = (*corner, 1)
    return keypoints


def test_paste_puts_the_view_where_it_lies():
    view = np.full((10, 20), 200, np.uint8)
    pasted = matte.paste(Segmentation(view, np.array([20, 40, 60, 60], np.float32)), (50, 40), (0.5, 0.5))
    assert pasted.shape == (40, 50)
    assert (pasted[20:30, 10:30] == 200).all()
    assert not pasted[:19].any()
    assert not pasted[:, :9].any()
    assert not pasted[:, 31:].any()


def test_paste_of_the_whole_frame_at_its_own_size_changes_nothing():
    view = np.random.default_rng(0).integers(0, 256, (30, 40), dtype=np.uint8)
    pasted = matte.paste(Segmentation(view, np.array([0, 0, 400, 300], np.float32)), (40, 30), (0.1, 0.1))
    np.testing.assert_array_equal(pasted, view)


def test_paste_cuts_what_lies_beyond_the_frame():
    view = np.full((10, 10), 255, np.uint8)
    pasted = matte.paste(Segmentation(view, np.array([-5, -5, 5, 5], np.float32)), (20, 20), (1, 1))
    assert (pasted[:4, :4] == 255).all()
    assert not pasted[6:].any()


def test_edges_move_to_those_of_the_picture():
    guide = np.zeros((120, 160, 3), np.uint8)
    guide[:, 80:] = 255
    rough = np.zeros((120, 160), np.uint8)
    rough[:, 76:] = 255  # four pixels too far left
    refined = matte.binary(matte.follow_edges(rough, guide, 8))
    before, after = (rough[:, :80] >= 128).sum(), refined[:, :80].sum()
    assert after < before / 2
    assert refined[:, 84:].all()


def test_edges_of_nothing_are_nothing():
    nothing = np.zeros((24, 32), np.uint8)
    assert not matte.follow_edges(nothing, np.zeros((24, 32, 3), np.uint8), 4).any()


def test_edges_of_a_tiny_picture():
    rough = np.zeros((4, 6), np.uint8)
    rough[1:3, 2:5] = 255
    refined = matte.follow_edges(rough, np.repeat(rough[..., None], 3, axis=2), 1)
    np.testing.assert_array_equal(matte.binary(refined), rough > 0)


def test_median_drops_what_shows_in_one_frame_only():
    empty, full = np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8)
    assert not matte.median3(empty, full, empty).any()
    assert (matte.median3(full, empty, full) == 255).all()
    np.testing.assert_array_equal(matte.median3(None, full, empty), full)
    values = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    np.testing.assert_array_equal(matte.median3(*values), np.median(values, axis=0).astype(np.uint8))


def test_only_parts_that_touch_the_body_stay():
    mask = np.zeros((60, 80), bool)
    mask[10:50, 20:40] = True
    mask[5:55, 60:78] = True  # larger, but nobody
    kept = matte.connected_to_body(mask, _torso(25, 20, 35, 40))
    assert kept[10:50, 20:40].all()
    assert not kept[:, 50:].any()


def test_the_largest_part_stays_when_the_body_is_elsewhere():
    mask = np.zeros((60, 80), bool)
    mask[10:20, 20:30] = True
    mask[5:55, 60:78] = True
    kept = matte.connected_to_body(mask, np.zeros((COUNT, 3), np.float32))
    assert kept[5:55, 60:78].all()
    assert kept.sum() == 50 * 18


def test_an_empty_mask_stays_empty():
    empty = np.zeros((6, 8), bool)
    assert not matte.connected_to_body(empty, _torso(1, 1, 4, 4)).any()


def test_overlap_goes_to_the_more_probable():
    first, second = np.zeros((4, 6), np.uint8), np.zeros((4, 6), np.uint8)
    first[:, :4], second[:, 2:] = 200, 220
    alone = matte.without_others([first, second])
    np.testing.assert_array_equal(alone[0][0], [200, 200, 0, 0, 0, 0])
    np.testing.assert_array_equal(alone[1][0], [0, 0, 220, 220, 220, 220])
    assert not (matte.binary(alone[0]) & matte.binary(alone[1])).any()


def test_hull_covers_the_torso_and_is_about_as_large():
    head = Detection(np.array([25, 0, 35, 10], np.float32), 1.0)
    keypoints = _torso(20, 20, 40, 50)
    person = PersonFrame(FULL_FRAME, head, keypoints, np.array([20, 20, 40, 50], np.float32))
    silhouette = matte.hull(person, (60, 60), (1, 1))
    assert set(np.unique(silhouette)) == {0, 255}
    assert (silhouette[20:50, 20:40] == 255).all()
    assert not silhouette[:15].any()


def test_points_far_outside_do_not_break_drawing():
    keypoints = _torso(-1e9, -1e9, 1e9, 1e9)
    assert matte.draw_body(keypoints, (20, 10), 1).all()

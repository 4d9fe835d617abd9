"""What goes into the two networks and comes out of them, beyond the golden vectors."""

from __future__ import annotations

import numpy as np
import pytest

from stages.person.vitpose.detector import people, pose_box, select_person
from stages.person.vitpose.heatmaps import decode
from stages.person.vitpose.pose_input import Crop, crop_of, cut, pose_input


def rows(*given: tuple[float, ...]) -> np.ndarray:
    rows_NC = np.zeros((300, 6), np.float32)
    rows_NC[: len(given)] = given
    return rows_NC


def test_another_class_pushes_a_person_out_in_the_official_code_alone() -> None:
    found = rows((100, 100, 300, 500, 0.6, 0), (102, 98, 300, 500, 0.9, 16))
    assert len(people(found, 640, 640, "official")) == 0
    np.testing.assert_allclose(people(found, 640, 640), [[100, 100, 300, 500, 0.6]], rtol=1e-6)


def test_of_overlapping_people_the_best_stays_and_the_order_is_by_score() -> None:
    found = rows((0, 0, 100, 200, 0.5, 0), (300, 0, 400, 300, 0.8, 0), (2, 0, 101, 200, 0.7, 0))
    people_PC = people(found, 1280, 320)
    np.testing.assert_allclose(people_PC[:, 4], [0.8, 0.7])
    assert people_PC[0].tolist()[:4] == [600, 0, 800, 150]


def test_rows_that_are_not_finite_are_no_people() -> None:
    found = rows((0, 0, np.nan, 200, 0.5, 0), (0, 0, np.inf, 200, 0.5, 0))
    assert people(found, 640, 640).shape == (0, 5)


def test_nobody_is_the_whole_frame() -> None:
    person_C = select_person(np.zeros((0, 5), np.float32), 320, 200)
    assert person_C.tolist() == [0, 0, 320, 200, -1]
    assert pose_box(person_C, (320, 200)).tolist() == [0, 0, 320, 200]
    assert pose_box(np.array([5, 5, 14, 150, 0.9], np.float32), (320, 200)).tolist() == [0, 0, 320, 200]
    assert pose_box(np.array([5, 5, 15, 150, 0.9], np.float32), (320, 200)).tolist() == [5, 5, 15, 150]


def test_a_crop_beyond_the_frame_is_black() -> None:
    frame_HWC = np.full((40, 60, 3), 9, np.uint8)
    assert not cut(frame_HWC, crop_of(np.array([500, 500, 540, 560]))).any()
    assert not cut(frame_HWC, crop_of(np.array([-90, -90, -60, -50]))).any()
    pixels_BCHW = pose_input([frame_HWC], [crop_of(np.array([0, 0, 0, 0]))])
    assert pixels_BCHW.shape == (1, 3, 256, 192)
    assert np.isfinite(pixels_BCHW).all()


def heatmap(x: float, y: float, height: float = 0.8) -> np.ndarray:
    columns, lines = np.meshgrid(np.arange(48), np.arange(64))
    return (height * np.exp(-((columns - x) ** 2 + (lines - y) ** 2) / 8)).astype(np.float32)


def test_peaks_are_found_between_cells_and_batches_do_not_mix() -> None:
    rng = np.random.default_rng(4)
    places_BKC = rng.uniform(6, 40, (3, 5, 2))
    maps = np.array([[heatmap(x, y) for x, y in person] for person in places_BKC])
    crops = [Crop((100.0 + i, 50.0), 48.0, 64.0) for i in range(3)]
    keypoints_BKC = decode(maps, crops)
    wanted_BKC = (
        places_BKC + np.array([[crop.centre[0] - 24, crop.centre[1] - 32] for crop in crops])[:, None]
    )
    np.testing.assert_allclose(keypoints_BKC[..., :2], wanted_BKC, atol=0.1)
    alone = [decode(maps[i : i + 1], crops[i : i + 1])[0] for i in range(3)]
    np.testing.assert_allclose(keypoints_BKC, alone, atol=1e-5)


def test_peaks_at_the_border_and_empty_maps_take_no_step() -> None:
    maps = np.array([[heatmap(0.4, 30), heatmap(20, 63), np.zeros((64, 48), np.float32)]])
    keypoints_KC = decode(maps, [Crop((24.0, 32.0), 48.0, 64.0)])[0]
    assert keypoints_KC[0, :2].tolist() == [0, 30]
    assert keypoints_KC[1, :2].tolist() == [20, 63]
    assert keypoints_KC[2].tolist() == [-1, -1, 0]


@pytest.mark.parametrize("seed", range(3))
def test_flat_maps_lead_no_point_away(seed: int) -> None:
    noise = 0.5 + 1e-4 * np.random.default_rng(seed).random((1, 133, 64, 48)).astype(np.float32)
    crop = Crop((24.0, 32.0), 48.0, 64.0)
    peaks_KC = np.array([np.unravel_index(each.argmax(), each.shape)[::-1] for each in noise[0]])
    robust_KC = decode(noise, [crop])[0, :, :2]
    assert np.abs(robust_KC - peaks_KC).max() <= 2
    assert np.abs(decode(noise, [crop], "official")[0, :, :2] - peaks_KC).max() > 2

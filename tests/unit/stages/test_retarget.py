"""The stage retarget: the whole clip's numbers whatever the pieces, and a reason where there is nothing to move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.skeletons import (
    PICTURE,
    SOURCE,
    context,
    figure_KC,
    reference_of,
    retargeted,
    skeleton_of,
    standing_TKC,
)
from PIL import Image
from pydantic import ValidationError

from schemas import RetargetRecord
from schemas.skeleton import FULL_FRAME
from stages import retarget as stage_module
from stages.person.estimator import Detection, PersonFrame
from stages.retarget import Retarget, RetargetConfig
from wanprep.animate.compat import Compat
from wanprep.animate.pose import pose_of
from wanprep.animate.retarget import retarget
from wanprep.animate.retarget.fit import lengths
from wanprep.errors import UsageError
from wanprep.key import stage_spec
from wanprep.media.image import letterbox_box
from wanprep.media.wan_body import LIMBS
from wanprep.stage import Skipped

SIZE = {"size": {"area": 96 * 160}}
NECK, NOSE, LEFT_SHOULDER, RIGHT_SHOULDER = 1, 0, 5, 6  # neck is the body's, the others COCO's


def record_of(made: RetargetRecord | Skipped) -> RetargetRecord:
    assert isinstance(made, RetargetRecord), made
    return made


def short_legged_KC() -> np.ndarray:
    """The standing person in the reference picture, its legs two thirds as long."""
    keypoints_KC = standing_TKC(1, PICTURE)[0]
    hips = keypoints_KC[11, 1]
    low_K = keypoints_KC[:, 1] > hips
    low_K[91:] = False
    keypoints_KC[low_K, 1] = hips + 2 / 3 * (keypoints_KC[low_K, 1] - hips)
    return keypoints_KC


def test_the_character_keeps_its_own_limbs(tmp_path: Path) -> None:
    reference = reference_of(short_legged_KC())
    record = record_of(retargeted(tmp_path, skeleton_of(standing_TKC(4, sway=5)), reference, **SIZE))
    assert (record.width, record.height, record.frames) == (96, 160, 4)
    assert (record.compat, record.points, record.framing, record.edited) == (
        "robust",
        "smooth",
        "full_body",
        False,
    )
    assert record.body_TKC.shape == (4, 20, 3)
    assert record.left_hand_TKC.shape == record.right_hand_TKC.shape == (4, 21, 3)
    body_TKC = np.asarray(record.body_TKC)
    x0, y0, x1, y1 = letterbox_box(PICTURE, (96, 160))
    wanted_KC = reference.keypoints_KC * [(x1 - x0) / PICTURE[0], (y1 - y0) / PICTURE[1], 1] + [x0, y0, 0]
    wanted = pose_of(wanted_KC[None], (96, 160))
    legs = [index for index, limb in enumerate(LIMBS) if limb in ((8, 9), (9, 10), (11, 12), (12, 13))]
    for frame in range(4):
        found_N = lengths(body_TKC[frame : frame + 1])[0][legs]
        np.testing.assert_allclose(found_N, lengths(wanted.pixels(wanted.body_TKC))[0][legs], rtol=0.02)
    # It stands where the character stands, and moves as the driving person does.
    to_ankles = slice(0, 18)  # feet are at most half as long as shins
    wanted_KC = wanted.pixels(wanted.body_TKC)[0]
    np.testing.assert_allclose(body_TKC[0, to_ankles, :2], wanted_KC[to_ankles, :2], atol=1)
    moved = (body_TKC[3] - body_TKC[0])[:, 0]
    np.testing.assert_allclose(moved, 15 / record.scale, rtol=0.05)


@pytest.mark.parametrize("compat", ["official", "robust"])
def test_pieces_are_moved_as_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compat: Compat
) -> None:
    """Gaps, a person who leaves, and a neck that is missing where a piece would end."""
    random = np.random.default_rng(5)
    keypoints_TKC = standing_TKC(40, sway=2)
    keypoints_TKC[..., :2] += random.normal(0, 1.5, keypoints_TKC[..., :2].shape)
    keypoints_TKC[:2] = 0
    keypoints_TKC[0, :, 2] = 0
    keypoints_TKC[6:9, LEFT_SHOULDER] = 0  # a piece of 7 frames would end in it
    keypoints_TKC[20:30, RIGHT_SHOULDER, 2] = 0.1
    keypoints_TKC[33:36] = 0
    if compat == "official":
        keypoints_TKC[:2] = keypoints_TKC[2]
    monkeypatch.setattr(stage_module, "_PIECE", 7)
    reference = reference_of(short_legged_KC())
    config = {"compat": compat, "points": "measured", "size": {"width": 128, "height": 192}}
    record = record_of(retargeted(tmp_path, skeleton_of(keypoints_TKC), reference, **config))
    x0, y0, x1, y1 = letterbox_box(PICTURE, (128, 192))
    on_canvas_KC = reference.keypoints_KC * [(x1 - x0) / PICTURE[0], (y1 - y0) / PICTURE[1], 1] + [x0, y0, 0]
    driving = pose_of(keypoints_TKC, SOURCE, compat)
    character = pose_of(on_canvas_KC[None], (128, 192), compat)
    # Frames that were held are not measured.
    fitted = stage_module.fit(
        driving if compat == "official" else driving[~driving.held_T],  # type: ignore[index]
        character,
        compat=compat,
    )
    whole = stage_module.move(fitted, driving, compat)
    for name in ("body_TKC", "left_hand_TKC", "right_hand_TKC"):
        expected_TKC = np.nan_to_num(getattr(whole, name))
        expected_TKC[expected_TKC[..., 2] <= 0] = 0
        np.testing.assert_allclose(getattr(record, name)[:], expected_TKC, rtol=0, atol=1e-3, err_msg=name)
    np.testing.assert_array_equal(record.held_T, driving.held_T)


def test_a_long_clip_is_measured_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keypoints_TKC = standing_TKC(60, sway=1)
    reference = reference_of(short_legged_KC())
    whole = record_of(retargeted(tmp_path, skeleton_of(keypoints_TKC), reference, **SIZE))
    monkeypatch.setattr(stage_module, "_MEASURED_FRAMES", 8)
    measured: list[int] = []
    monkeypatch.setattr(
        stage_module, "fit", lambda driving, *rest: measured.append(len(driving)) or _fit(driving, *rest)
    )
    part = record_of(retargeted(tmp_path, skeleton_of(keypoints_TKC), reference, **SIZE))
    assert measured == [8]
    np.testing.assert_allclose(part.body_TKC[:], whole.body_TKC[:], atol=1e-3)


_fit = stage_module.fit


def test_points_as_measured_or_smoothed(tmp_path: Path) -> None:
    measured_TKC = standing_TKC(5)
    shifted_TKC = measured_TKC.copy()
    shifted_TKC[2:, :, 0] += 20
    skeleton = skeleton_of(measured_TKC, smooth_TKC=shifted_TKC)
    reference = reference_of(short_legged_KC())
    smooth = record_of(retargeted(tmp_path, skeleton, reference))
    measured = record_of(retargeted(tmp_path, skeleton, reference, points="measured"))
    apart_T = (smooth.body_TKC[:] - measured.body_TKC[:])[:, NECK, 0]
    np.testing.assert_allclose(apart_T, np.array([0, 0, 20, 20, 20]) / smooth.scale, atol=1e-3)


@pytest.mark.parametrize("compat", ["official", "robust"])
def test_nothing_but_finite_numbers(tmp_path: Path, compat: str) -> None:
    """Limbs of no length, points that were not seen, one frame: the official ratios are infinite there."""
    keypoints_TKC = standing_TKC(1)
    keypoints_TKC[0, 7] = keypoints_TKC[0, 5]
    keypoints_TKC[0, 13:23] = 0
    keypoints_TKC[0, 91:112, 2] = 0.1
    record = record_of(
        retargeted(tmp_path, skeleton_of(keypoints_TKC), reference_of(short_legged_KC()), compat=compat)
    )
    for name in ("body_TKC", "left_hand_TKC", "right_hand_TKC", "ratios_N"):
        assert np.isfinite(getattr(record, name)[:]).all(), name
    assert np.isfinite(record.scale)
    left_TKC = np.asarray(record.left_hand_TKC)
    assert not left_TKC[left_TKC[..., 2] < 0.4].any()


def test_without_a_body_it_is_skipped(tmp_path: Path) -> None:
    nobody_KC = np.zeros((133, 3), np.float32)
    driving = skeleton_of(standing_TKC(3))
    made = retargeted(tmp_path, driving, reference_of(nobody_KC))
    assert made == Skipped("the reference picture shows no body to take limbs from", 0.0)
    unsure_KC = short_legged_KC()
    unsure_KC[:, 2] = 0.3
    assert isinstance(retargeted(tmp_path, driving, reference_of(unsure_KC)), Skipped)
    reference = reference_of(short_legged_KC())
    empty = skeleton_of(np.zeros((3, 133, 3), np.float32))
    made = retargeted(tmp_path, empty, reference)
    assert made == Skipped("the driving video shows no body to take limbs from", 0.0)
    late_TKC = standing_TKC(3)
    late_TKC[0] = 0
    made = retargeted(tmp_path, skeleton_of(late_TKC), reference, compat="official")
    assert isinstance(made, Skipped) and "first frame, which compat=official measures" in made.reason
    assert record_of(retargeted(tmp_path, skeleton_of(late_TKC), reference)).held_T.tolist() == [1, 0, 0]


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, str]:
    for name in ("driving", "reference"):
        Image.new("RGB", (100, 200)).save(tmp_path / f"{name}.png")
    return {f"edited_{name}": str(tmp_path / f"{name}.png") for name in ("driving", "reference")}


def test_limbs_are_measured_in_edited_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: dict[str, str]
) -> None:
    """A driving person with one arm towards the camera; the edited pictures show both people's arms whole."""
    driving_TKC = standing_TKC(4)
    driving_TKC[:, [7, 9], :2] = driving_TKC[:, [5], :2] + [[2, 2], [4, 3]]
    driving_TKC[:, [8, 10], :2] = driving_TKC[:, [6], :2] + [[-2, 2], [-4, 3]]
    skeleton, reference = skeleton_of(driving_TKC), reference_of(short_legged_KC())
    shown: list[np.ndarray] = [standing_TKC(1, (100, 200))[0] for _ in range(2)]

    def people_in(rgb_HWC: np.ndarray, config: Any) -> list[PersonFrame]:
        assert rgb_HWC.shape == (200, 100, 3)
        keypoints_KC = shown.pop(0)
        box_C = np.array([0, 0, 9, 9], np.float32)
        return [PersonFrame(FULL_FRAME, Detection(box_C, 1.0), keypoints_KC, box_C)]

    monkeypatch.setattr(stage_module, "people_in", people_in)
    monkeypatch.setattr(Retarget, "setup", lambda stage: None)
    plain = record_of(retargeted(tmp_path, skeleton, reference))
    assert len(shown) == 2 and plain.ratios_N[3] > 1.3
    edited = record_of(retargeted(tmp_path, skeleton, reference, **pictures))
    assert not shown and edited.edited
    np.testing.assert_allclose(edited.ratios_N, 1, rtol=0.05)
    monkeypatch.setattr(stage_module, "people_in", lambda rgb_HWC, config: [])
    with pytest.raises(UsageError, match=r"retarget\.edited_driving: no person is found in .*driving\.png"):
        retargeted(tmp_path, skeleton, reference, **pictures)


def test_edited_pictures_enter_the_key_by_what_is_in_them(tmp_path: Path, pictures: dict[str, str]) -> None:
    plain, edited = (Retarget(RetargetConfig.model_validate(given)) for given in ({}, pictures))
    assert plain.models() == {} and plain.resources.memory == 0 and plain.unavailable() is None
    assert stage_spec(plain)["config"] == stage_spec(edited)["config"]
    before = stage_spec(edited)
    assert set(before["models"]) == {"mediapipe", "edited_driving", "edited_reference"}
    assert edited.resources.memory > 0
    (tmp_path / "driving.png").rename(tmp_path / "moved.png")
    assert "there is no picture" in str(edited.unavailable()) and "driving.png" in str(edited.unavailable())
    moved = Retarget(
        RetargetConfig.model_validate({**pictures, "edited_driving": str(tmp_path / "moved.png")})
    )
    assert stage_spec(moved) == before
    Image.new("RGB", (100, 200), "white").save(tmp_path / "moved.png")
    assert stage_spec(moved) != before
    with pytest.raises(ValidationError, match="edited_driving and edited_reference go together"):
        RetargetConfig(edited_driving=tmp_path / "moved.png")


def test_it_takes_what_the_stages_before_have_found() -> None:
    stage = Retarget(RetargetConfig())
    assert stage.needs == ("skeleton", "reference_skeleton") and not stage.reads


def test_the_made_person_is_whole() -> None:
    assert figure_KC().shape == (133, 2)
    assert retarget(*(pose_of(standing_TKC(1, size), size) for size in (SOURCE, PICTURE))).canvas == PICTURE
    assert context(Path()).clip.reference is None

"""The reference picture's person: points in the picture's own pixels, however it was looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers.skeletons import context
from PIL import Image
from pydantic import ValidationError

from schemas import ReferenceSkeletonRecord
from schemas.skeleton import FULL_FRAME
from stages.person import reference
from stages.person.coco_wholebody import COUNT, LEFT_SHOULDER, RIGHT_SHOULDER
from stages.person.estimator import Detection, EstimatorConfig, PersonEstimator, PersonFrame, Pixels
from stages.person.reference import ReferenceSkeleton, ReferenceSkeletonConfig
from wanprep.errors import MediaError
from wanprep.sample.clip import Look, plan_clip, render_frames
from wanprep.stage import Media, Skipped, Stage

HEAD, OTHER = (255, 0, 0), (0, 255, 0)


class ColourEstimator(PersonEstimator):
    """A head is what is red or green; its person's nose lies in its middle, and no other point is seen."""

    name = "colour"

    def load(self) -> None:
        pass

    def detect(self, frame_HWC: Pixels, expected: Sequence[Detection] = ()) -> list[Detection]:
        found = []
        for channel in (1, 0):  # green first
            rows, columns = np.nonzero(
                (frame_HWC[..., channel] > 200) & (frame_HWC.sum(axis=-1, dtype=int) < 300)
            )
            if len(rows):
                box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                found.append(Detection(np.array(box, np.float32), 0.9))
        return found

    def measure(
        self, frame_HWC: Pixels, head: Detection, *, main: bool, segmentation: bool = False
    ) -> PersonFrame:
        keypoints_KC = np.zeros((COUNT, 3), np.float32)
        keypoints_KC[0] = (*head.centre, 0.9)
        return PersonFrame(FULL_FRAME, head, keypoints_KC, head.box_C)

    def measure_unverified(self, frame_HWC: Pixels, *, segmentation: bool = False) -> PersonFrame | None:
        return None


def draw(path: Path, size: tuple[int, int], *boxes: tuple[tuple[int, int, int], list[int]]) -> np.ndarray:
    width, height = size
    rgb_HWC = np.zeros((height, width, 3), np.uint8)
    for colour, (x0, y0, x1, y1) in boxes:
        rgb_HWC[y0:y1, x0:x1] = colour
    Image.fromarray(rgb_HWC).save(path)
    return rgb_HWC


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reference, "estimator_for", ColourEstimator)

    def look(path: Path | None, **config: object) -> ReferenceSkeletonRecord | Skipped:
        stage = ReferenceSkeleton(ReferenceSkeletonConfig.model_validate(config))
        made = stage.run(context(tmp_path, path), {})
        assert isinstance(made, ReferenceSkeletonRecord | Skipped)
        return made

    return look


@pytest.mark.parametrize("config", [{}, {"estimator": {"long_side": 100}}, {"area": 128 * 128}], ids=str)
def test_points_are_in_the_pictures_own_pixels(tmp_path: Path, look, config: dict[str, object]) -> None:
    draw(tmp_path / "a.png", (400, 237), (HEAD, [280, 40, 340, 100]))
    record = look(tmp_path / "a.png", **config)
    assert (record.backend, record.width, record.height, record.people) == ("mediapipe", 400, 237, 1)
    np.testing.assert_allclose(record.keypoints_KC[0], [310, 70, 0.9], atol=4)
    np.testing.assert_allclose(record.box_C, [280, 40, 340, 100], atol=8)
    assert not record.keypoints_KC[1:].any(), "what is not seen stays at the origin"


def test_the_largest_head_is_taken(tmp_path: Path, look) -> None:
    draw(tmp_path / "a.png", (300, 200), (OTHER, [10, 10, 40, 40]), (HEAD, [200, 100, 260, 160]))
    record = look(tmp_path / "a.png")
    assert record.people == 2
    np.testing.assert_allclose(record.keypoints_KC[0, :2], [230, 130], atol=1)


@pytest.mark.parametrize(
    ("subject", "x"), [(1, 230), (2, 25), ([0.1, 0.12], 25), ([0.6, 0.4, 0.9, 0.9], 230)], ids=str
)
def test_another_person_may_be_asked_for(tmp_path: Path, look, subject: object, x: int) -> None:
    draw(tmp_path / "a.png", (300, 200), (OTHER, [10, 10, 40, 40]), (HEAD, [200, 100, 260, 160]))
    for area in (None, 128 * 128):
        record = look(tmp_path / "a.png", subject=subject, area=area)
        assert abs(record.keypoints_KC[0, 0] - x) < 4


def test_who_is_not_there_is_skipped(tmp_path: Path, look) -> None:
    draw(tmp_path / "a.png", (300, 200), (HEAD, [200, 100, 260, 160]))
    for subject in (2, [0.1, 0.1]):
        made = look(tmp_path / "a.png", subject=subject)
        assert isinstance(made, Skipped) and made.value == 1
        assert "is none of the 1 found in the reference picture" in made.reason
    with pytest.raises(ValidationError, match="subject=3 needs estimator"):
        ReferenceSkeletonConfig.model_validate({"subject": 3})


def test_a_turned_picture_is_upright(tmp_path: Path, look) -> None:
    rgb_HWC = draw(tmp_path / "a.png", (300, 200), (HEAD, [200, 100, 260, 160]))
    exif = Image.Exif()
    exif[0x0112] = 8  # to be turned by 90 degrees counter-clockwise to be upright
    Image.fromarray(np.rot90(rgb_HWC, -1)).save(tmp_path / "turned.png", exif=exif)
    record = look(tmp_path / "turned.png")
    assert (record.width, record.height) == (300, 200)
    np.testing.assert_allclose(record.keypoints_KC[0, :2], [230, 130], atol=1)


@pytest.mark.parametrize("size", [(1, 1), (3, 900)])
def test_without_a_person_it_is_skipped(tmp_path: Path, look, size: tuple[int, int]) -> None:
    draw(tmp_path / "a.png", size)
    for area in (None, 64 * 64):
        assert look(tmp_path / "a.png", area=area) == Skipped("no person found in the reference picture", 0.0)
    assert look(None) == Skipped("the clip has no reference picture", 0.0)
    with pytest.raises(MediaError, match=r"missing\.png"):
        look(tmp_path / "missing.png")


def test_the_drawn_person_is_found_by_the_real_estimator(tmp_path: Path) -> None:
    _, drawn = plan_clip(1.0, 25, 1, Look())
    (picture_HWC,) = render_frames(drawn[:1], size=(640, 480))
    Image.fromarray(picture_HWC).save(tmp_path / "drawn.png")
    stage = ReferenceSkeleton(ReferenceSkeletonConfig())
    stage.setup()
    record = stage.run(context(tmp_path, tmp_path / "drawn.png"), {})
    assert isinstance(record, ReferenceSkeletonRecord)
    right, left = record.keypoints_KC[[RIGHT_SHOULDER, LEFT_SHOULDER]]
    assert 0 < right[0] < left[0] < 640 and min(right[2], left[2]) > 0.5
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "tiny.png")
    assert isinstance(stage.run(context(tmp_path, tmp_path / "tiny.png"), {}), Skipped)


def test_only_the_picture_is_read_and_the_estimator_is_in_the_key() -> None:
    stage = ReferenceSkeleton(ReferenceSkeletonConfig(estimator=EstimatorConfig()))
    assert isinstance(stage, Stage) and stage.reads == {Media.REFERENCE}
    assert list(stage.models()) == ["mediapipe"]

"""The reference picture through the pair of networks: one look at it, and points in its own pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.skeletons import context
from PIL import Image

from schemas import ReferenceSkeletonRecord
from stages.person.estimator import EstimatorConfig
from stages.person.reference import ReferenceSkeleton, ReferenceSkeletonConfig
from stages.person.vitpose.estimator import VitPoseEstimator
from stages.person.vitpose.pose_input import crop_of
from stages.person.vitpose.tiny import layout_KC
from wanprep.models.places import ModelPlaces
from wanprep.stage import Skipped

BOX = (120, 60, 200, 220)


@pytest.mark.parametrize("area", [None, 160 * 120])
def test_a_painted_person_is_measured(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch, area: int | None
) -> None:
    looked: list[int] = []
    see = VitPoseEstimator._see
    monkeypatch.setattr(
        VitPoseEstimator, "_see", lambda self, frames: looked.append(len(frames)) or see(self, frames)
    )
    estimator = EstimatorConfig(backend="vitpose", device="cpu", long_side=320, max_people=1)
    config = ReferenceSkeletonConfig(estimator=estimator, area=area)
    stage = ReferenceSkeleton(ModelPlaces(models).placed(config))
    assert set(stage.models()) == {"detector", "pose"} and stage.unavailable() is None
    stage.setup()
    rgb_HWC = np.full((240, 320, 3), 40, np.uint8)
    rgb_HWC[BOX[1] : BOX[3], BOX[0] : BOX[2]] = (255, 0, 0)
    Image.fromarray(rgb_HWC).save(tmp_path / "red.png")
    made = stage.run(context(tmp_path, tmp_path / "red.png"), {})
    assert isinstance(made, ReferenceSkeletonRecord)
    assert (made.backend, made.width, made.height, made.people) == ("vitpose", 320, 240, 1)
    assert looked == [1]
    np.testing.assert_allclose(made.box_C, BOX, atol=1 if area is None else 6)
    crop = crop_of(np.array([*BOX, 1], np.float32))
    low_C = np.array(crop.centre) - np.array([crop.width, crop.height]) / 2
    wanted_KC = low_C + layout_KC() * [crop.width, crop.height]
    assert np.median(np.abs(made.keypoints_KC[:, :2] - wanted_KC)) < (1.5 if area is None else 6)
    Image.new("RGB", (320, 240)).save(tmp_path / "black.png")
    assert isinstance(stage.run(context(tmp_path, tmp_path / "black.png"), {}), Skipped)

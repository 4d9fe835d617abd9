"""The tiny ONNX pair: whole, the same for the same seed, found by name, and told by the doctor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from stages.person.estimator import EstimatorConfig
from stages.person.vitpose.estimator import VitPoseEstimator
from stages.person.vitpose.tiny import layout_KC, write_pose
from wanprep import doctor
from wanprep.models.places import ModelPlaces
from wanprep.models.tiny import make_tiny

NAMES = ("yolov10m", "vitpose-h-wholebody")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_the_pair_finds_a_painted_person(tmp_path: Path) -> None:
    made = list(make_tiny(tmp_path, NAMES))
    assert [model.name for model in made] == list(NAMES)
    config = ModelPlaces(tmp_path).placed(EstimatorConfig(backend="vitpose", device="cpu"))
    frame_HWC = np.full((240, 320, 3), 40, np.uint8)
    frame_HWC[30:220, 100:180] = (255, 0, 0)
    (person,) = VitPoseEstimator(config).people(frame_HWC)
    np.testing.assert_allclose(person.body_box_C, [100, 30, 180, 220], atol=1)
    assert (person.keypoints_KC[:, 2] > 0.3).all()


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    for folder, seed in (("one", 3), ("two", 3), ("three", 4)):
        list(make_tiny(tmp_path / folder, NAMES, seed=seed))
    one, two, three = (contents(tmp_path / folder) for folder in ("one", "two", "three"))
    assert one == two
    assert one["vitpose-h-wholebody/x_peaks"] != three["vitpose-h-wholebody/x_peaks"]
    assert 0 < np.abs(layout_KC(3) - layout_KC(0)).max() <= 0.002


def test_they_are_networks_to_onnxs_own_checker(tmp_path: Path) -> None:
    list(make_tiny(tmp_path, NAMES))
    for path, shapes in (
        ("yolov10m/yolov10m.onnx", [["batch", 3, 640, 640], ["batch", 300, 6]]),
        ("vitpose-h-wholebody/end2end.onnx", [["batch", 3, 256, 192], ["batch", 133, 64, 48]]),
    ):
        onnx.checker.check_model(str(tmp_path / path), full_check=True)
        graph = onnx.load(tmp_path / path).graph
        found = [
            [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
            for value in (*graph.input, *graph.output)
        ]
        assert found == shapes
    inside = write_pose(tmp_path / "whole" / "pose.onnx")
    onnx.checker.check_model(str(inside), full_check=True)
    assert list(inside.parent.iterdir()) == [inside]


def test_making_them_needs_no_package(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['onnx'] = sys.modules['onnxruntime'] = None\n"
        "from pathlib import Path; from wanprep.models.tiny import make_tiny\n"
        f"print([made.name for made in make_tiny(Path({str(tmp_path)!r}), {NAMES!r})])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (f"{list(NAMES)!r}\n", "")


def test_the_doctor_tells_the_pairs_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("WANPREP_MODELS", raising=False)

    def found() -> dict[str, doctor.Finding]:
        return {finding.what: finding for finding in doctor.examine()}

    lacking = found()
    assert lacking["onnxruntime"].state == "ok"
    for stage in ("skeleton", "face"):
        finding = lacking[f"stage {stage}, vitpose"]
        assert finding.state == "off"
        assert finding.detail.startswith("yolov10m would be downloaded: 62")
        assert finding.fix == "wanprep models fetch yolov10m; wanprep models fetch vitpose-h-wholebody"
    list(make_tiny(tmp_path / "models", NAMES))
    monkeypatch.setenv("WANPREP_MODELS", str(tmp_path / "models"))
    here = found()["stage skeleton, vitpose"]
    assert (here.state, here.detail) == (
        "ok",
        f"found at {tmp_path / 'models/yolov10m'}, {tmp_path / 'models/vitpose-h-wholebody'}",
    )
    monkeypatch.setattr("stages.person.stage.util.find_spec", lambda name: None)
    assert found()["stage skeleton, vitpose"].detail.endswith("pip install 'wanprep[onnx]'")

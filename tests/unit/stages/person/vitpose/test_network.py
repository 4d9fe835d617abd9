"""A network is what was asked for, where it was asked for, or an error of one line."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from stages.person.vitpose.network import Network, onnx_file
from stages.person.vitpose.tiny import write_detector, write_pose
from wanprep.errors import UsageError
from wanprep.models.errors import ModelBroken, ModelMissing, ModelOutOfMemory
from wanprep.models.resolve import LocalModel, resolve

CROP, MAPS = (3, 256, 192), (133, 64, 48)
CUDA = "CUDAExecutionProvider"


def pose(path: Path, device: Any = "cpu", batch: int = 4) -> Network:
    return Network(resolve(str(path)), device, CROP, MAPS, batch)


def crops(count: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, *CROP)).astype(np.float32)


@pytest.mark.parametrize("fixed", [1, 4])
def test_a_network_of_a_fixed_batch_gives_what_a_free_one_gives(tmp_path: Path, fixed: int) -> None:
    free = pose(write_pose(tmp_path / "free.onnx"))
    bound = pose(write_pose(tmp_path / "bound.onnx", batch=fixed))
    pictures = crops(6)
    together = free.run(pictures)
    assert together.shape == (6, *MAPS)
    np.testing.assert_allclose(bound.run(pictures), together, atol=1e-6)
    np.testing.assert_allclose(
        np.concatenate([free.run(pictures[i : i + 1]) for i in range(6)]), together, atol=1e-6
    )
    assert free.run(crops(0)).shape == (0, *MAPS)
    assert free.device == "cpu"


def test_tensors_in_files_of_their_own_belong_to_the_network(models: Path) -> None:
    folder = models / "vitpose-h-wholebody"
    assert len(list(folder.iterdir())) > 3
    assert pose(folder).run(crops(1)).max() > 0
    assert resolve(str(folder)).digest() != resolve(str(folder / "end2end.onnx")).digest()


def test_a_missing_tensor_file_is_named(tmp_path: Path) -> None:
    path = write_pose(tmp_path / "pose.onnx", outside=True)
    (tmp_path / "x_cells").unlink()
    with pytest.raises(ModelBroken, match=r"pose\.onnx cannot be loaded.*x_cells"):
        pose(tmp_path)
    assert path.exists()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "pose.onnx").write_bytes(b"no network")
    with pytest.raises(ModelBroken, match=r"pose\.onnx cannot be loaded") as error:
        pose(tmp_path / "pose.onnx")
    assert "\n" not in str(error.value)


def test_a_network_for_something_else_is_refused(tmp_path: Path) -> None:
    detector = write_detector(tmp_path / "detector.onnx")
    with pytest.raises(ModelBroken, match=r"640.*not one input of float pictures \[3, 256, 192\]"):
        pose(detector)
    other = write_pose(tmp_path / "pose.onnx")
    network = Network(resolve(str(other)), "cpu", CROP, (17, 64, 48), 2)
    with pytest.raises(ModelBroken, match=r"gives \[1, 133, 64, 48\].*not \[1, 17, 64, 48\]"):
        network.run(crops(1))


def test_the_file_of_a_folder(tmp_path: Path) -> None:
    inside = tmp_path / "model"
    inside.mkdir()
    with pytest.raises(ModelMissing, match=r"no \.onnx file"):
        onnx_file(LocalModel("m", inside))
    (inside / "deep").mkdir()
    (inside / "deep/a.onnx").touch()
    assert onnx_file(LocalModel("m", inside)) == inside / "deep/a.onnx"
    (inside / "b.onnx").touch()
    with pytest.raises(ModelMissing, match=r"2 \.onnx files"):
        onnx_file(LocalModel("m", inside))
    assert onnx_file(LocalModel("m", inside, files=("b.onnx", "b.bin"))) == inside / "b.onnx"


def test_cuda_without_cuda_is_an_error(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(UsageError, match="onnxruntime-gpu"):
        pose(models / "vitpose-h-wholebody", "cuda")


def test_a_gpu_that_cannot_be_started_is_an_error_and_with_auto_a_warning(
    models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = onnxruntime.InferenceSession
    asked = []

    def fallen_back(path: str, options: Any, providers: list[str]) -> Any:
        asked.append(providers)
        return start(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", fallen_back)
    with pytest.raises(UsageError, match="could not start it"):
        pose(models / "vitpose-h-wholebody", "cuda")
    with caplog.at_level(logging.WARNING):
        assert pose(models / "vitpose-h-wholebody", "auto").device == "cpu"
    assert "runs on the CPU" in caplog.text
    caplog.clear()
    assert pose(models / "vitpose-h-wholebody", "cpu").device == "cpu"
    assert not caplog.text
    assert asked == [[CUDA, "CPUExecutionProvider"]] * 2 + [["CPUExecutionProvider"]]


class Short:
    """A session that has memory for so many pictures."""

    def __init__(self, room: int, value: float = 1.0) -> None:
        self.room, self.value, self.counts = room, value, []

    def run(self, outputs: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        (pictures,) = inputs.values()
        self.counts.append(len(pictures))
        if len(pictures) > self.room:
            raise RuntimeError("Failed to allocate memory for requested buffer of size 9")
        return [np.full((len(pictures), *MAPS), self.value, np.float32)]


def test_the_batch_is_halved_until_it_fits(models: Path) -> None:
    network = pose(models / "vitpose-h-wholebody", batch=8)
    network._session = session = Short(room=3)
    assert len(network.run(crops(5))) == 5
    assert session.counts == [5, 4, 2, 2, 1]
    session.counts.clear()
    assert len(network.run(crops(4))) == 4
    assert session.counts == [2, 2]


def test_one_picture_too_much_is_out_of_memory(models: Path) -> None:
    network = pose(models / "vitpose-h-wholebody", batch=2)
    network._session = Short(room=0)
    with pytest.raises(ModelOutOfMemory, match="batch of 1"):
        network.run(crops(3))


def test_what_is_not_finite_becomes_nothing(models: Path) -> None:
    network = pose(models / "vitpose-h-wholebody")
    network._session = Short(room=9, value=float("nan"))
    assert not network.run(crops(2)).any()

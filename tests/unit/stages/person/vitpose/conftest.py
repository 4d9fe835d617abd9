"""Small networks of the real ones' inputs and outputs, in folders as `--models` has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.person.vitpose.tiny import write_detector, write_pose


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_detector(folder / "yolov10m/yolov10m.onnx")
    write_pose(folder / "vitpose-h-wholebody/end2end.onnx", outside=True)
    return folder

"""A tiny checkpoint of SAM2, loaded once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from stages.person.sam2.tracker import Sam2Tracker


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Such small models are many times slower with threads that wait for each other."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from stages.person.sam2.tiny import write_tiny

    folder: Path = tmp_path_factory.mktemp("models") / "sam2.1-hiera-large"
    write_tiny(folder, 0)
    return folder


@pytest.fixture(scope="package")
def tracker(tiny: Path) -> Sam2Tracker:
    from stages.person.sam2.config import Sam2Config
    from stages.person.sam2.tracker import Sam2Tracker

    return Sam2Tracker(Sam2Config(model=str(tiny), device="cpu"))

"""What all tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from wanprep import registry
from wanprep.stage import Stage

# At the end, so that no folder of ours hides an installed package.
sys.path.append(os.path.dirname(__file__))

# Loaded machines stall; what an example does is the same each time all the same.
settings.register_profile("wanprep", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("wanprep")


class _Entry:
    """An entry point of this process's own."""

    def __init__(self, stage: type[Stage[Any]]) -> None:
        self._stage = stage
        self.value = f"{stage.__module__}:{stage.__name__}"

    def load(self) -> type[Stage[Any]]:
        return self._stage


@pytest.fixture
def add_stages(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Registers stage classes beside the installed ones, for one test and this process."""
    added: dict[str, Any] = {}
    installed = registry._entries

    def entries(group: str) -> dict[str, Any]:
        return {**installed(group), **added} if group == registry.STAGES else dict(installed(group))

    def add(*stages: type[Stage[Any]]) -> None:
        added.update({stage.name: _Entry(stage) for stage in stages})

    monkeypatch.setattr(registry, "_entries", entries)
    return add


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of two small videos, for tests that only read."""
    from helpers.media import write_video

    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "one.mp4", 8)
    write_video(folder / "two.mp4", 6, seed=50)
    yield folder

"""A store of prompts, and the plug-in generator that makes noise of them, as an installed one would be."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")

import wanprep
from wanprep_infer.generators import registry

PLUGINS = str(Path(__file__).parents[3] / "plugins")


@pytest.fixture(scope="session", autouse=True)
def plugins() -> Iterator[None]:
    sys.path.insert(0, PLUGINS)
    registry._entries.cache_clear()
    yield
    sys.path.remove(PLUGINS)
    registry._entries.cache_clear()


@pytest.fixture(scope="session")
def make_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """A store with a clip a prompt, called as the prompt; made once for the same prompts."""
    made: dict[tuple[str, ...], str] = {}

    def make(*prompts: str) -> str:
        if prompts not in made:
            folder = tmp_path_factory.mktemp("store")
            rows = "".join(f"{prompt},{prompt.replace(' ', '-')}\n" for prompt in prompts)
            (folder / "clips.csv").write_text(f"prompt,id\n{rows}")
            recipe = {"stages": {"text": {"backend": "hashed-ngram"}}}
            wanprep.run(folder / "clips.csv", store=folder / "store", recipe=recipe, engine="inline")
            made[prompts] = str(folder / "store")
        return made[prompts]

    return make


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A model of the noise generator, with a diary of what was loaded and generated beside it."""
    path = tmp_path / "model"
    path.write_text(f"noise {tmp_path / 'diary'}")
    return str(path)


@pytest.fixture
def diary(tmp_path: Path) -> Callable[[], list[str]]:
    """What was done so far: `load` with a process id, `generate` with clip and seed."""

    def read() -> list[str]:
        path = tmp_path / "diary"
        return path.read_text().splitlines() if path.exists() else []

    return read

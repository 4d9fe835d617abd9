"""`wanprep models tiny`: makers of plug-ins, the same bytes for the same seed, nobody's folder lost."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wanprep import registry
from wanprep.errors import UsageError
from wanprep.models.resolve import missing
from wanprep.models.tiny import MARK, is_tiny, make_tiny, makers

PLUGIN = """
import random
from pathlib import Path

def small(folder: Path, seed: int) -> None:
    content = random.Random(seed).randbytes(64)
    (folder / "config.json").write_text("{}")
    (folder / "unet").mkdir()
    (folder / "unet" / "weights.safetensors").write_bytes(content)

def broken(folder: Path, seed: int) -> None:
    (folder / "config.json").write_text("{}")
    import no_such_package

def empty(folder: Path, seed: int) -> None:
    pass
"""
ENTRIES = "[wanprep.tiny]\ntiny-small = tiny_plugin:small\n"
MORE = "tiny-broken = tiny_plugin:broken\ntiny-empty = tiny_plugin:empty\ntiny-gone = no_such_module:make\n"


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder that, on the module path, is an installed package with makers."""
    folder = tmp_path / "plugin"
    info = folder / "tiny_plugin-1.dist-info"
    info.mkdir(parents=True)
    (folder / "tiny_plugin.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRIES + MORE)
    return folder


@pytest.fixture
def installed(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(plugin))
    monkeypatch.delitem(sys.modules, "tiny_plugin", raising=False)
    entries = registry._entries
    entries.cache_clear()
    yield plugin
    entries.cache_clear()


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def command(plugin: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, with the plug-in installed."""
    return subprocess.run(
        [sys.executable, "-c", "from wanprep.cli import main; main()", "models", "tiny", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(plugin)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command_with_a_plug_in(plugin: Path, tmp_path: Path) -> None:
    done = command(plugin, "made", "tiny-small", "--seed", "7", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "tiny-small  66 B  made/tiny-small\n"
    assert missing(str(tmp_path / "made/tiny-small")) is None
    assert sorted(os.listdir(tmp_path / "made")) == ["tiny-small"]
    unknown = command(plugin, "made", "tiny-smal", folder=tmp_path)
    assert unknown.returncode == 2
    assert unknown.stderr.startswith(
        "wanprep: no tiny checkpoint is made of 'tiny-smal'; did you mean 'tiny-small'?"
    )
    assert unknown.stderr.count("\n") == 1


def test_the_same_seed_makes_the_same_bytes(installed: Path, tmp_path: Path) -> None:
    for folder, seed in (("one", 3), ("two", 3), ("three", 4)):
        (made,) = make_tiny(tmp_path / folder, ["tiny-small"], seed=seed)
        assert made.path == tmp_path / folder / "tiny-small" and made.nbytes == 66
    one, two, three = (contents(tmp_path / folder) for folder in ("one", "two", "three"))
    assert one == two != three


def test_a_tiny_checkpoint_is_replaced_whole(installed: Path, tmp_path: Path) -> None:
    list(make_tiny(tmp_path, ["tiny-small"], seed=1))
    first = contents(tmp_path / "tiny-small")
    (tmp_path / "tiny-small/left-over.safetensors").write_bytes(b"from before")
    list(make_tiny(tmp_path, ["tiny-small"], seed=1))
    assert contents(tmp_path / "tiny-small") == first
    assert is_tiny(tmp_path / "tiny-small")


@pytest.mark.parametrize("kind", ["folder", "file", "link", "dead link"])
def test_what_is_not_ours_is_left_alone(kind: str, installed: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    target, elsewhere = models / "tiny-small", tmp_path / "elsewhere"
    if kind == "folder":
        target.mkdir()
        (target / "model.safetensors").write_bytes(b"82 GB of somebody's")
    elif kind == "file":
        target.write_text("somebody's")
    else:
        if kind == "link":
            elsewhere.mkdir()
            (elsewhere / MARK).write_text("{}")
        target.symlink_to(elsewhere)
    before = contents(models), sorted(os.listdir(models))
    with pytest.raises(UsageError, match="was not made by `wanprep models tiny`: it is left alone"):
        list(make_tiny(models, ["tiny-small"]))
    assert (contents(models), sorted(os.listdir(models))) == before


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tiny-broken", "needs no_such_package: pip install 'wanprep"),
        ("tiny-empty", "its maker wrote no files"),
        ("tiny-gone", "cannot be imported from no_such_module:make"),
        ("../escape", "no tiny checkpoint is made of"),
    ],
)
def test_makers_that_fail_leave_nothing(name: str, words: str, installed: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    with pytest.raises(UsageError, match=words) as caught:
        list(make_tiny(models, [name]))
    assert "\n" not in str(caught.value)
    assert not models.exists() or os.listdir(models) == []


def test_a_maker_with_a_name_that_leads_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_entries", lambda group: {"../escape": object(), "Tiny Model": object()})
    for name in ("../escape", "Tiny Model"):
        with pytest.raises(UsageError, match="a model's name is of letters, digits, dots and dashes"):
            list(make_tiny(tmp_path / "models", [name]))


def test_without_names_all_are_made(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one: Any = registry._entries("wanprep.tiny")["tiny-small"]
    monkeypatch.setattr(registry, "_entries", lambda group: {"tiny-a": one, "tiny-b": one})
    assert [made.name for made in make_tiny(tmp_path / "models", seed=2)] == makers() == ["tiny-a", "tiny-b"]
    mark = json.loads((tmp_path / "models/tiny-b" / MARK).read_text())
    assert mark == {"model": "tiny-b", "seed": 2}

"""An exporter of a plug-in: the recipe of CONTRIBUTING.md."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from helpers import animate_store as made
from pydantic import Field

from wanprep import registry
from wanprep.export.export import export
from wanprep.export.exporter import Exporter, ExportOptions, Written
from wanprep.store.clip import StoredClip
from wanprep.store.store import Store


class PointsOptions(ExportOptions):
    smooth: bool = Field(default=True, description="The points smoothed over time.")


class Points(Exporter[PointsOptions]):
    name: ClassVar[str] = "points"
    Options: ClassVar[type[ExportOptions]] = PointsOptions

    def write(self, store: Store, clip: StoredClip, folder: Path, shown: Callable[[int], None]) -> Written:
        skeleton = clip.skeleton
        points = skeleton.keypoints_smooth_TKC if self.options.smooth else skeleton.keypoints_TKC
        (folder / "points.json").write_text(json.dumps(np.asarray(points).tolist()))
        shown(skeleton.frames)
        return Written(skeleton.frames, {"points": "smooth" if self.options.smooth else "measured"})


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    entry: Any = SimpleNamespace(value="here:Points", load=lambda: Points)
    monkeypatch.setattr(registry, "_entries", lambda group: {"points": entry})


@pytest.mark.parametrize("smooth", [True, False])
def test_it_writes_what_it_wants_and_gets_the_rest(tmp_path: Path, smooth: bool) -> None:
    store = made.make_store(tmp_path, {"skeleton": made.skeleton()})
    summary = export(store.files.root, "points", tmp_path / "out", options={"smooth": smooth})
    assert (summary.written, summary.frames) == (["dance"], made.FRAMES)
    folder = tmp_path / "out" / "dance"
    points = np.array(json.loads((folder / "points.json").read_text()), np.float32)
    expected = made.skeleton().keypoints_smooth_TKC if smooth else made.keypoints_TKC()
    assert (points == expected).all()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["points"] == ("smooth" if smooth else "measured")
    assert list(manifest["files"]) == ["points.json"]


def test_what_a_clip_lacks_is_said_by_its_store(tmp_path: Path) -> None:
    store = made.make_store(tmp_path, {"face": made.face()})
    summary = export(store.files.root, "points", tmp_path / "out")
    assert summary.left_out == {"dance": "its recipe has no stage 'skeleton'"}


def test_a_newer_version_makes_folders_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = made.make_store(tmp_path, {"skeleton": made.skeleton()})
    export(store.files.root, "points", tmp_path / "out")
    assert export(store.files.root, "points", tmp_path / "out").already == ["dance"]
    monkeypatch.setattr(Points, "version", 2)
    assert export(store.files.root, "points", tmp_path / "out").written == ["dance"]

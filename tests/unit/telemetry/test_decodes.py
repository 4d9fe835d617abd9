"""Bug: a recipe that decodes a clip more than once told a negative time left."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.stages import Count

import wanprep
from wanprep.engine import progress


class Second(Count):
    name = "second"
    needs = ("count",)


def test_each_decode_counts_the_frames(videos: Path, tmp_path: Path, add_stages: Callable[..., None]) -> None:
    add_stages(Count, Second)
    recipe: dict[str, Any] = {"stages": {"count": {}, "second": {}}}
    summary = wanprep.run(videos, store=tmp_path / "store", recipe=recipe, engine="inline")
    assert summary.frames_read == summary.frames_total == 2 * (8 + 6)

    recipe["stages"]["second"] = {"scale": 2.0}
    summary = wanprep.run(videos, store=tmp_path / "store", recipe=recipe, engine="inline")
    assert summary.frames_read == summary.frames_total == 8 + 6


def test_time_left_is_never_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.0)
    log = io.StringIO()
    lines = progress.reporter(log)
    lines.begin(1, 10)
    lines.frames(25)
    assert "about 0 s left" in log.getvalue()

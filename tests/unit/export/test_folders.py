"""Exported folders: whole or not at all, and nobody else's are touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import animate_store as made

from wanprep.errors import WanprepError
from wanprep.export import wan22
from wanprep.export.export import export
from wanprep.export.folder import sweep, whole_folder


def _animation(tmp_path: Path) -> str:
    records = {"skeleton": made.skeleton(), "retarget": made.retarget(), "face_crops": made.face_crops()}
    return made.make_store(tmp_path, records).files.root


def test_nothing_is_left_of_a_clip_that_failed_halfway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _animation(tmp_path)

    def fails(*given: Any) -> list[str]:
        raise ValueError("a tensor of another shape")

    monkeypatch.setattr(wan22, "_write_tables", fails)
    summary = export(root, "wan22", tmp_path / "out")
    assert "a tensor of another shape" in summary.left_out["dance"]
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_ends_the_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _animation(tmp_path)

    def full(*given: Any) -> list[str]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wan22, "_write_tables", full)
    with pytest.raises(WanprepError, match="cannot be written"):
        export(root, "wan22", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_export_that_is_there_stays_until_something_changes(tmp_path: Path) -> None:
    root = _animation(tmp_path)
    export(root, "wan22", tmp_path / "out")
    pose = tmp_path / "out" / "dance" / "src_pose.mp4"
    before = pose.stat().st_mtime_ns
    again = export(root, "wan22", tmp_path / "out")
    assert (again.written, again.already) == ([], ["dance"])
    assert pose.stat().st_mtime_ns == before
    changed = export(root, "wan22", tmp_path / "out", options={"area": 6144})
    assert changed.written == ["dance"]
    pose.write_bytes(b"cut short")
    assert export(root, "wan22", tmp_path / "out", options={"area": 6144}).written == ["dance"]
    assert pose.stat().st_size > 1000
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["dance"]


@pytest.mark.parametrize("manifest", [None, "not json", "{}", '{"made_from": 1, "files": []}'])
def test_a_folder_of_someone_else_is_not_replaced(tmp_path: Path, manifest: str | None) -> None:
    root = _animation(tmp_path)
    other = tmp_path / "out" / "dance"
    other.mkdir(parents=True)
    (other / "holiday.txt").write_text("mine")
    if manifest is not None:
        (other / "manifest.json").write_text(manifest)
    summary = export(root, "wan22", tmp_path / "out")
    assert "no export of wanprep" in summary.left_out["dance"]
    assert (other / "holiday.txt").read_text() == "mine"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    root = _animation(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "dance").symlink_to(tmp_path / "elsewhere")
    assert "dance" in export(root, "wan22", tmp_path / "out").left_out
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_a_dead_process_left_is_removed_and_a_live_ones_is_not(tmp_path: Path) -> None:
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    )
    left = tmp_path / f".dance.new.{int(dead.stdout)}.part"
    ours = tmp_path / f".dance.new.{os.getpid()}.part"
    other = tmp_path / ".dance.notes.part"
    for folder in (left, ours, other):
        folder.mkdir()
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([ours, other])


def test_the_old_folder_is_there_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "clip"
    with whole_folder(target) as folder:
        (folder / "old").touch()
    with pytest.raises(RuntimeError), whole_folder(target) as folder:
        (folder / "new").touch()
        assert [entry.name for entry in target.iterdir()] == ["old"]
        raise RuntimeError
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip"]
    assert [entry.name for entry in target.iterdir()] == ["old"]


def test_the_command_counts_what_it_left_out_and_exits_with_0(tmp_path: Path) -> None:
    root = made.make_store(tmp_path, {"skeleton": "no person found"}).files.root
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "wanprep",
            "export",
            root,
            "--to",
            "wan22",
            str(tmp_path / "out"),
            "--clip",
            "da",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert "left out dance: skeleton was skipped: no person found" in done.stdout
    assert "0 clips written (0 frames), 1 left out" in done.stdout
    told = subprocess.run(
        [sys.executable, "-m", "wanprep", "export", root, "--to", "wan22", str(tmp_path / "out"), "--json"],
        capture_output=True,
        text=True,
    )
    assert json.loads(told.stdout)["left_out"] == {"dance": "skeleton was skipped: no person found"}

"""Names from a store or a manifest never become paths unchecked."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wanprep
from wanprep.errors import StoreError, UsageError
from wanprep.store.fs import StoreFiles
from wanprep.store.store import Store

NAMES = ["../x", "/etc", "..", "a/../../x", "a\0b", "", ".hidden", "a b", "x" * 5000 + "/"]
Edit = Callable[[Path, Callable[[dict[str, Any]], None]], None]


def listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", NAMES)
def test_stage_names_in_a_clip_s_row(store: Path, command: Callable[..., Any], edit: Edit, name: str) -> None:
    (rows,) = (store / "clips").iterdir()
    edit(rows, lambda row: row.update(keys=[(name, key) for _, key in row["keys"]]))
    before = listing(store.parent)
    assert "is not a plain name" in command("status", store).refused
    assert listing(store.parent) == before
    clip = next(wanprep.open(str(store)).clips())
    with pytest.raises(StoreError, match="is not a plain name"):
        clip.get(name)


@pytest.mark.parametrize("name", ["a b", "-x", "sk\x1b[31m"])
def test_stage_folders_with_odd_names(store: Path, command: Callable[..., Any], name: str) -> None:
    (store / "artifacts" / name).mkdir()
    assert "is not a plain name" in command("verify", store).refused
    assert "\x1b" not in command("verify", store).err


@pytest.mark.parametrize("file", ["../../../secret.safetensors", "/etc/passwd", "..", "a/b", "a\0b", ""])
def test_a_tensor_s_file(store: Path, command: Callable[..., Any], edit: Edit, file: str) -> None:
    (store.parent / "secret.safetensors").write_bytes(bytes(1 << 20))
    (rows,) = (store / "artifacts/flow").glob("*.parquet")
    edit(rows, lambda row: row["blocks"].update(file=file, data=None))
    said = command("verify", store)
    assert said.code == 1 and "is not a plain name" in said.out
    assert "is not a plain name" in command("sheet", store).refused
    with pytest.raises(StoreError, match="is not a plain name"):
        _ = next(wanprep.open(str(store)).clips()).flow


@pytest.mark.parametrize("digest", NAMES)
def test_recipe_digests_and_run_ids(store: Path, edit: Edit, digest: str) -> None:
    (store.parent / "x.json").write_text("{}")
    opened = Store.open(str(store))
    with pytest.raises(StoreError, match="is not a plain name"):
        opened.recipe_document(digest)
    (rows,) = (store / "clips").iterdir()
    edit(rows, lambda row: row.update(recipe=digest))
    video = store.parent / "v.mp4"
    shutil.copy(next(iter(wanprep.open(str(store)).clips())).record.video or "", video)
    recipe = {"stages": {"flow": {"short_side": 64}}}
    # The clip in the store is of another address: nothing of its row is followed.
    summary = wanprep.run(video, store=store, recipe=recipe, engine="inline")
    assert summary.failed == 0


@pytest.mark.parametrize("name", ["../x", "a/../../x", "runs/../../x", "a\0b"])
def test_no_name_leads_out_of_the_store_s_files(store: Path, name: str) -> None:
    files = StoreFiles(str(store))
    for act in (files.read_bytes, files.exists, files.size, files.remove, files.read_table, files.names):
        with pytest.raises(StoreError, match="leads out of the store"):
            act(name)
    with pytest.raises(StoreError, match="leads out of the store"):
        files.write_bytes(name, b"x")
    assert not (store.parent / "x").exists()


def test_links_out_of_the_store_are_not_read(store: Path, command: Callable[..., Any]) -> None:
    (shard,) = (store / "artifacts/flow").glob("*.safetensors")
    outside = store.parent / "outside.safetensors"
    shard.rename(outside)
    shard.symlink_to(outside)
    said = command("verify", store)
    assert said.code == 1 and "is a link to" in said.out
    assert "is a link to" in command("sheet", store).refused
    with pytest.raises(StoreError, match="put the file itself there"):
        _ = next(wanprep.open(str(store)).clips()).flow


@pytest.mark.parametrize("folder", ["clips", "outcomes", "artifacts/flow", "runs"])
def test_folders_that_are_links_are_not_read_or_written(
    store: Path, command: Callable[..., Any], folder: str
) -> None:
    outside = store.parent / "outside"
    if (store / folder).exists():
        (store / folder).rename(outside)
    else:
        outside.mkdir()
    (store / folder).symlink_to(outside)
    before = listing(outside)
    action = ("status", store, "--watch") if folder == "runs" else ("status", store)
    assert "is a link to" in command(*action).refused
    video = next(outside.parent.glob("*.mp4"), None) or store.parent / "v.mp4"
    source = Path(__file__).parent / "conftest.py"
    shutil.copy(source, video)
    assert "is a link to" in command("run", video, "-s", store, "-p", "motion", "--engine", "inline").refused
    assert listing(outside) == before


def test_links_within_the_store_and_a_store_behind_a_link_are_fine(
    store: Path, command: Callable[..., Any]
) -> None:
    (shard,) = (store / "artifacts/flow").glob("*.safetensors")
    shard.rename(store / "moved.bin")
    shard.symlink_to(store / "moved.bin")
    (store.parent / "link").symlink_to(store)
    assert command("verify", store.parent / "link").code == 0
    assert command("sheet", store.parent / "link", "-o", "s.png").code == 0


def test_what_a_killed_run_left_is_removed_in_the_store_only(
    store: Path, command: Callable[..., Any]
) -> None:
    """A planted temporary file that is a link: the run before it may delete must not reach outside."""
    victim = store.parent / "victim"
    victim.write_text("mine")
    os.utime(victim, (0, 0))
    (store / "clips/.tmp-dead-x").symlink_to(victim)
    video = store.parent / "v.mp4"
    video.write_text("no video")
    command("run", video, "-s", store, "-p", "motion", "--engine", "inline")
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a\0b", "a/b", ".x", "[red]x", "x\x1b[2J", "x" * 129])
def test_ids_in_manifests(tmp_path: Path, command: Callable[..., Any], name: str) -> None:
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(json.dumps({"prompt": "p", "id": name}) + "\n")
    said = command("plan", manifest, "-s", tmp_path / "none", "-p", "motion").refused
    assert "may hold letters, digits" in said or "NUL" in said
    assert "\x1b" not in said


def test_a_nul_in_a_path_of_a_manifest(tmp_path: Path, command: Callable[..., Any]) -> None:
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(json.dumps({"video": "a\0b.mp4"}) + "\n")
    assert "holds a NUL character" in command("run", manifest, "-s", tmp_path / "s", "-p", "motion").refused


@pytest.mark.parametrize("name", ["../x", "os:system", "a.b:c", "/tmp/x.py", "a\0b"])
def test_stage_names_in_recipes_are_those_of_installed_plugins(name: str) -> None:
    with pytest.raises(UsageError, match="no stage is called"):
        wanprep.run("x.mp4", store="s", recipe={"stages": {name: {}}})
    assert not Path("s").exists()

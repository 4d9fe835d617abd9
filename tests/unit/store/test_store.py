"""Opening, reading and asking a store, on a disk and in a bucket."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.stages import BEGUN, Count, Note, broken, skipping

import wanprep
from wanprep.errors import StoreError
from wanprep.status import status
from wanprep.store import Store
from wanprep.store.clip import MissingArtifact
from wanprep.store.verify import verify

COUNT = {"stages": {"count": {"large": True}}}


def test_what_is_no_store_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is no wanprep store \(it has no store\.json\)"):
        wanprep.open(str(tmp_path))
    for text in ("", "{", "[]", "null", '{"format_version": "x"}', '{"format_version": null}', "\xff"):
        (tmp_path / "store.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(StoreError, match=r"store\.json: is not readable"):
            wanprep.open(str(tmp_path))
    (tmp_path / "store.json").write_text(json.dumps({"format_version": 2}))
    with pytest.raises(StoreError, match="has store format 2, this wanprep reads up to 1; upgrade wanprep"):
        wanprep.open(str(tmp_path))


def test_places_that_cannot_hold_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(StoreError, match="cannot be created"):
            Store.create(str(place))
    with pytest.raises(StoreError, match="install the extra for its protocol"):
        Store.create("nosuch://bucket/store")


def test_creating_twice_keeps_what_is_there(tmp_path: Path) -> None:
    first = Store.create(str(tmp_path), created_by="one").files.read_bytes("store.json")
    assert Store.create(str(tmp_path), created_by="two").files.read_bytes("store.json") == first


@pytest.fixture(params=["disk", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "store") if request.param == "disk" else f"memory://{tmp_path.name}/store"


def test_run_read_verify_and_run_again(place: str, videos: Path, add_stages: Callable[..., None]) -> None:
    add_stages(Count)
    summary = wanprep.run(videos, store=place, recipe=COUNT, engine="inline", workers=1)
    assert (summary.stages["count"].done, summary.failed) == (2, 0)
    store = wanprep.open(place)
    clips = list(store.clips())
    assert [clip.record.frames for clip in clips] == [8, 6]
    assert [clip.count.frames for clip in clips] == [8, 6]
    assert clips[0].count.levels_T.shape == (8,)
    large = clips[0].count.large_TC
    np.testing.assert_array_equal(large[:, 0], clips[0].count.levels_T.astype(np.uint8))
    assert verify(store).clean
    again = wanprep.run(videos, store=place, recipe=COUNT, engine="inline", workers=1)
    assert again.nothing_to_do and again.stages["count"].already_done == 2
    assert status(store).to_json()["stages"] == {
        "count": {"done": 2, "skipped": 0, "failed": 0, "missing": 0}
    }


def test_clip_by_the_beginning_of_its_id(
    tmp_path: Path, videos: Path, add_stages: Callable[..., None]
) -> None:
    add_stages(Count)
    wanprep.run(videos, store=tmp_path, recipe=COUNT, engine="inline")
    store = wanprep.open(str(tmp_path))
    assert store.clip("one-").id == next(store.clips()).id
    for asked, said in (
        ("", "begins 2 clip ids"),
        ("three", "has no clip 'three'"),
        ("wone-", "has no clip 'wone-'"),
    ):
        with pytest.raises(StoreError, match=said):
            store.clip(asked)


def test_what_is_missing_says_why(tmp_path: Path, videos: Path, add_stages: Callable[..., None]) -> None:
    add_stages(skipping("too dark", 0.25), Note)
    manifest = tmp_path / "list.csv"
    manifest.write_text(f"video,prompt,id\n{videos}/one.mp4,a dog,one\nnone.mp4,,gone\n")
    store_path = str(tmp_path / "store")
    wanprep.run(manifest, store=store_path, recipe={"stages": {"count": {}, "note": {}}}, engine="inline")
    clip = wanprep.open(store_path).clip("one")
    for stage, said in (
        ("count", r"clip one: count was skipped: too dark \(0\.25\)"),
        ("note", r"clip one: note was skipped: count: too dark \(0\.25\)"),
        ("cuont", "clip one: its recipe has no stage 'cuont'; did you mean 'count'"),
    ):
        with pytest.raises(MissingArtifact, match=said):
            getattr(clip, stage)
        assert clip.get(stage) is None and not hasattr(clip, stage)
    with pytest.raises(MissingArtifact, match="clip gone: video: the file does not exist"):
        _ = wanprep.open(store_path).clip("gone").count
    add_stages(broken(ValueError("bad pixel")))
    wanprep.run(videos / "two.mp4", store=store_path, recipe={"stages": {"count": {}}}, engine="inline")
    with pytest.raises(MissingArtifact, match="count failed: ValueError: bad pixel"):
        _ = wanprep.open(store_path).clip("two-").count


def test_mended_file_is_not_reported_any_more(
    tmp_path: Path, videos: Path, add_stages: Callable[..., None]
) -> None:
    """`status` went on to list a clip whose file had been replaced by a good one."""
    add_stages(Count)
    inputs = tmp_path / "in"
    inputs.mkdir()
    (inputs / "a.mp4").write_bytes(b"not a video")
    store = tmp_path / "store"
    assert wanprep.run(inputs, store=store, recipe=COUNT, engine="inline").failed == 1
    before = status(wanprep.open(str(store)))
    assert before.unusable == 1
    assert [row.stage for row in before.failures] == ["clip"]
    (inputs / "a.mp4").write_bytes((videos / "one.mp4").read_bytes())
    assert wanprep.run(inputs, store=store, recipe=COUNT, engine="inline").failed == 0
    after = status(wanprep.open(str(store)))
    assert after.unusable == 0 and after.failures == [] and after.stages["count"].done == 1


def test_file_that_may_be_read_again_is_looked_at_again(
    tmp_path: Path, videos: Path, add_stages: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cause such as missing rights was remembered as long as the file's size and time stayed the same."""
    from wanprep import scan

    add_stages(Count)

    def denied(path: str) -> str:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(scan, "file_digest", denied)
        first = wanprep.run(videos / "one.mp4", store=tmp_path, recipe=COUNT, engine="inline")
    assert [failure.cause for failure in first.failures] == ["video: cannot be read: Permission denied"]
    BEGUN.clear()
    assert wanprep.run(videos / "one.mp4", store=tmp_path, recipe=COUNT, engine="inline").failed == 0
    assert BEGUN == ["count"]

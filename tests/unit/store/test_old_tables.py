"""Stores that were written before a column was there are read, planned on, verified and compacted."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.media import write_video

import wanprep
from schemas import CaptionRecord, ClipRecord
from wanprep.store import Store
from wanprep.store.columns import with_new_columns
from wanprep.store.compact import compact
from wanprep.store.verify import verify

RECIPE = {"stages": {"caption": {}}}


def strip(folder: Path, *names: str) -> None:
    """Takes columns out of the one Parquet file of a folder."""
    (file,) = folder.glob("*.parquet")
    pq.write_table(pq.read_table(file).drop_columns(list(names)), file)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store whose clips lack the newest columns."""
    store = tmp_path / "store"
    write_video(tmp_path / "videos" / "a.mp4", 6)
    wanprep.run(tmp_path / "videos", store=store, recipe=RECIPE, engine="inline", workers=1)
    strip(store / "clips", "caption", "caption_error")
    return store


def test_old_store_reads_as_if_nothing_was_given(old: Path) -> None:
    strip(old / "artifacts" / "caption", "device")
    (clip,) = wanprep.open(str(old)).clips()
    (record,) = Store.open(str(old)).clip_records()
    assert (record.caption, record.caption_error) == (None, None)
    assert isinstance(clip.caption, CaptionRecord) and clip.caption.device is None


def test_old_store_is_whole(old: Path) -> None:
    assert verify(Store.open(str(old))).problems == []


def test_nothing_is_made_again(old: Path) -> None:
    summary = wanprep.run(old.parent / "videos", store=old, recipe=RECIPE, engine="inline", workers=1)
    assert summary.clips_to_do == 0


def test_old_and_new_parts_are_merged(old: Path) -> None:
    write_video(old.parent / "videos" / "b.mp4", 6, seed=3)
    (old.parent / "videos" / "b.txt").write_text("Given.")
    wanprep.run(old.parent / "videos", store=old, recipe=RECIPE, engine="inline", workers=1)
    assert len(list((old / "clips").glob("*.parquet"))) == 2
    assert compact(str(old)).problems == []
    (merged,) = (old / "clips").glob("*.parquet")
    assert pq.read_schema(merged).names == ClipRecord.SCHEMA.names
    captions = {record.clip_id[0]: record.caption for record in Store.open(str(old)).clip_records()}
    assert captions == {"a": None, "b": "Given."}
    assert verify(Store.open(str(old))).problems == []


def test_column_without_which_a_row_means_nothing_is_not_made_up() -> None:
    table = pa.table({"recipe": ["r"]})
    assert with_new_columns(table, ClipRecord.SCHEMA) is table


def test_whole_table_stays_as_it_is() -> None:
    schema = pa.schema([pa.field("a", pa.int64())], metadata={"k": "v"})
    table = pa.table({"a": [1], "b": [2]})
    assert with_new_columns(table, schema) is table
    old = pa.table({"b": [2]}).replace_schema_metadata({"k": "v"})
    made = with_new_columns(old, schema)
    assert made.to_pylist() == [{"a": None, "b": 2}] and made.schema.metadata == {b"k": b"v"}

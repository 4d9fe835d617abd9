"""Warnings in stored records: something to look at in what is done all the same."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from schemas.registry import RECORDS
from wanprep.store.fs import StoreFiles
from wanprep.store.layout import artifact_folder
from wanprep.store.parts import read_parts

_COLUMN = "warnings"
_TEXTS = pa.list_(pa.string())
_SCHEMA = pa.schema([("key", pa.string()), (_COLUMN, _TEXTS)])


def stored_warnings(files: StoreFiles, stage: str, clips: pa.Table) -> Iterator[tuple[str, str]]:
    """Clip id and sentence for each warning of a stage's records that clips name, in the order of `clips`.

    Args:
        clips: rows of the table `clips`: its columns `clip_id` and `keys`.

    Raises:
        StoreError: a shard cannot be read.
    """
    record = RECORDS.get(stage)
    if record is not None and _COLUMN not in record.SCHEMA.names:
        return
    _, parts = read_parts(files, artifact_folder(stage), lambda name: _warned(files, name))
    rows = pa.concat_tables(parts) if parts else _SCHEMA.empty_table()
    if not len(rows):
        return
    texts = dict(zip(rows["key"].to_pylist(), rows[_COLUMN].to_pylist(), strict=True))
    keys = pc.map_lookup(clips["keys"], stage, "first")
    named = clips.select(["clip_id"]).append_column("key", keys).filter(pc.is_in(keys, value_set=rows["key"]))
    for row in named.to_pylist():
        for text in texts[row["key"]]:
            yield row["clip_id"], text or ""


def _warned(files: StoreFiles, name: str) -> pa.Table:
    """Key and warnings of the rows that have some; of a file of another kind none."""
    table = files.read_table(name, ["key"], optional=[_COLUMN])
    if table.schema.names != _SCHEMA.names or table.schema.types != _SCHEMA.types:
        return _SCHEMA.empty_table()
    return table.filter(pc.greater(pc.list_value_length(table[_COLUMN]), 0)).cast(_SCHEMA)

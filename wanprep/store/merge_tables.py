"""Merges parts of the `clips`, `media` and `outcomes` tables into one, without the rows that newer ones replace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from schemas import ClipRecord, MediaRecord, OutcomeRecord
from wanprep.store import layout
from wanprep.store.columns import with_new_columns
from wanprep.store.fs import StoreFiles
from wanprep.store.merge import Merged, read_shard, remove_part


@dataclass(frozen=True, slots=True)
class TableRule:
    """Of the rows that agree in `identity` the one that comes last by `order` is kept."""

    identity: tuple[str, ...]
    order: tuple[tuple[str, str], ...]  # column, and `ascending` or `descending`
    name: tuple[str, ...]  # columns that a file's name is made from
    schema: pa.Schema


RULES = {
    # Of each clip and recipe, so that going back to an older recipe is still seen for what it is.
    layout.CLIPS: TableRule(
        ("clip_id", "recipe"),
        (("created_ns", "ascending"),),
        ("clip_id", "recipe", "created_ns"),
        ClipRecord.SCHEMA,
    ),
    # Of two looks at the same version of a file the one that found no fault counts; nulls sort last.
    layout.MEDIA: TableRule(
        ("uri",),
        (("modified_ns", "ascending"), ("error", "ascending")),
        ("uri", "size", "modified_ns"),
        MediaRecord.SCHEMA,
    ),
    layout.OUTCOMES: TableRule(
        ("key",), (("created_ns", "ascending"),), ("key", "created_ns"), OutcomeRecord.SCHEMA
    ),
}


def merge_parts(files: StoreFiles, folder: str, parts: Sequence[str]) -> Merged:
    """Commits one Parquet file with the rows of `parts` that count, then removes these.

    Args:
        parts: Parquet files of equal schema and metadata.

    Raises:
        Damaged: names the one that cannot be read; nothing has changed.
        StoreError: the store cannot be written.
    """
    rule = RULES[folder]
    table = pa.concat_tables([with_new_columns(read_shard(files, part), rule.schema) for part in parts])
    kept = _newest(table, rule)
    columns = [kept[name].to_pylist() for name in rule.name]
    name = (
        f"{folder}/{layout.shard_name(' '.join(map(str, row)) for row in zip(*columns, strict=True))}.parquet"
    )
    nbytes = files.write_table(name, kept)
    replaced = [part for part in parts if part != name]
    for part in replaced:
        remove_part(files, part)
    return Merged(name, replaced, nbytes)


def _newest(table: pa.Table, rule: TableRule) -> pa.Table:
    table = table.sort_by(list(rule.order))
    numbered = table.select(list(rule.identity)).append_column("row", pa.array(np.arange(len(table))))
    last = numbered.group_by(list(rule.identity)).aggregate([("row", "max")])
    chosen = np.zeros(len(table), dtype=bool)
    chosen[np.asarray(last["row_max"])] = True
    return table.filter(pa.array(chosen))

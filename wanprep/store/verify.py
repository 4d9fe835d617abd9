"""Re-reads a store and checks that all it says of itself is true."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import xxhash

from schemas import ClipRecord, MediaRecord, OutcomeRecord
from schemas.registry import RECORDS
from schemas.tensor import TENSOR, TensorRef
from wanprep.errors import StoreError
from wanprep.store import layout
from wanprep.store.columns import with_new_columns
from wanprep.store.parts import Vanished
from wanprep.store.retired import retired
from wanprep.store.shard import artifact_schema
from wanprep.store.store import Store


@dataclass
class Report:
    """What was checked and what is wrong; each problem names its file."""

    files: int = 0
    artifacts: int = 0
    tensors: int = 0
    nbytes: int = 0
    missing: int = 0  # clips' artifacts that are neither there nor accounted for; a run makes them
    temporaries: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not self.problems


def verify(
    store: Store, *, digests: bool = True, progress: Callable[[int, int], None] = lambda done, total: None
) -> Report:
    """Checks schemas, bounds and digests of every tensor, and that every clip's key is accounted for.

    Args:
        digests: read every tensor's bytes; without, only bounds are checked.
    """
    report = Report()
    stages = store.files.folders(layout.ARTIFACTS)
    parquets = _artifact_files(store, stages)
    for folder, record in (
        (layout.CLIPS, ClipRecord),
        (layout.MEDIA, MediaRecord),
        (layout.OUTCOMES, OutcomeRecord),
    ):
        for name in store.files.names(folder, ".parquet"):
            _check_table(store, name, record.SCHEMA, report)
    keys: dict[str, set[str]] = {stage: set() for stage in stages}
    done = 0
    while done < len(parquets):
        stage, name = parquets[done]
        progress(done, len(parquets))
        known = RECORDS.get(stage)
        table = _check_table(store, name, artifact_schema(known) if known else None, report)
        if table is not None:
            _check_rows(store, stage, name, table, keys[stage], report, digests)
        done += 1
        if done == len(parquets):  # a compaction may have moved rows meanwhile
            parquets += sorted(set(_artifact_files(store, stages)) - set(parquets))
    progress(len(parquets), len(parquets))
    _check_clips(store, keys, report)
    kept = retired(store.files)  # by a compaction for readers, or noted in a bucket for a later run
    left = [name for name in store.unreferenced() if name not in kept]
    report.temporaries += [*left, *store.files.temporaries()]
    return report


def _artifact_files(store: Store, stages: list[str]) -> list[tuple[str, str]]:
    return [
        (stage, n) for stage in stages for n in store.files.names(layout.artifact_folder(stage), ".parquet")
    ]


def _check_table(store: Store, name: str, schema: pa.Schema | None, report: Report) -> pa.Table | None:
    report.files += 1
    try:
        table = store.files.read_table(name)
    except StoreError as error:
        if store.files.exists(name):
            report.problems.append(str(error))
        return None  # or a compaction has moved its rows since it was listed
    if not {"key", "clip_id"} <= set(table.column_names) and name.startswith(f"{layout.ARTIFACTS}/"):
        report.problems.append(f"{name}: has no columns key and clip_id: it is no file of a store")
        return None
    if schema is not None:
        table = with_new_columns(table, schema)
    if schema is not None and not table.schema.equals(schema, check_metadata=False):
        wrong = "; ".join(_differences(schema, table.schema)[:3])
        report.problems.append(f"{name}: has another schema than this version writes ({wrong})")
        return None
    return table


def _differences(wanted: pa.Schema, found: pa.Schema) -> list[str]:
    """What is wrong with the columns, in words."""
    said = [f"no column '{name}'" for name in wanted.names if name not in found.names]
    said += [f"unknown column '{name}'" for name in found.names if name not in wanted.names]
    said += [
        f"column '{column.name}' is {found.field(column.name).type}"
        for column in wanted
        if column.name in found.names and not found.field(column.name).equals(column)
    ]
    return said or ["columns in another order"]


def _check_rows(
    store: Store,
    stage: str,
    name: str,
    table: pa.Table,
    keys: set[str],
    report: Report,
    digests: bool,
) -> None:
    folder = layout.artifact_folder(stage)
    tensor_columns = [column.name for column in table.schema if column.type == TENSOR]
    for row in table.to_pylist():
        report.artifacts += 1
        keys.add(row["key"])
        for ref in _refs(row, tensor_columns, name, report):
            report.tensors += 1
            report.nbytes += ref.nbytes or 0
            place = name if ref.file is None else f"{folder}/{ref.file}"
            try:
                data = store.tensor(ref, folder)
                if (
                    digests
                    and xxhash.xxh3_128(data.reshape(-1).view(np.uint8).data).hexdigest() != ref.digest
                ):
                    report.problems.append(
                        f"{place}: a tensor of key {row['key']} has other bytes than were written"
                    )
            except (StoreError, ValueError) as error:
                if isinstance(error, Vanished) and not store.files.exists(name):
                    return  # a compaction has moved the rest
                report.problems.append(f"{name}: key {row['key']}: {error}")


def _refs(row: dict[str, object], columns: list[str], name: str, report: Report) -> Iterator[TensorRef]:
    for column in columns:
        cell = row[column]
        if isinstance(cell, dict):
            if (cell["data"] is None) == (cell["file"] is None):
                report.problems.append(
                    f"{name}: {column} of key {row['key']} is neither inline nor in a shard"
                )
                continue
            try:
                yield TensorRef.from_cell(cell)
            except TypeError:
                report.problems.append(f"{name}: {column} of key {row['key']} has no shape")


def _check_clips(store: Store, keys: dict[str, set[str]], report: Report) -> None:
    settled = {row.key for row in store.outcomes()}
    for clip in store.clip_records():
        for stage, key in clip.keys.items():
            if key not in keys.get(stage, ()) and key not in settled:
                report.missing += 1

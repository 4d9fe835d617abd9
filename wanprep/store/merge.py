"""Merges shards of one stage into one without decoding: rows are rewritten, tensors copied byte for byte."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa

from schemas import Record
from schemas.record import PutTensor
from schemas.tensor import TENSOR, Tensor, TensorRef, numpy_dtype
from wanprep.errors import StoreError
from wanprep.store import layout
from wanprep.store.fs import StoreFiles
from wanprep.store.retired import tensor_files
from wanprep.store.shard import ShardWriter

_CHUNK = 4 << 20  # bytes of a tensor in memory at a time


class Damaged(StoreError):
    """A shard's bytes are not what its rows say."""

    def __init__(self, shard: str, why: str) -> None:
        super().__init__(f"{shard} is damaged ({why}), so it is left as it is; see `wanprep verify`")
        self.shard = shard


@dataclasses.dataclass(frozen=True, slots=True)
class Merged:
    """`rows_file` now holds what `replaced` held; `nbytes` were written."""

    rows_file: str
    replaced: list[str]
    nbytes: int


def merge_shards(
    files: StoreFiles,
    stage: str,
    shards: Sequence[str],
    *,
    retire: Callable[[set[str]], None],
    beat: Callable[[], None],
) -> Merged:
    """Commits one shard that holds the rows of `shards`, then removes their Parquet files. Of a key that is there
    more than once the first row is kept.

    Args:
        shards: Parquet files of equal schema and metadata, in the order that their rows are to have.
        retire: told the old tensor files before any of their rows go.
        beat: called after each shard is copied.

    Raises:
        Damaged: names the shard; nothing has changed.
        StoreError: the store cannot be written; each row is still where it was, or in the merged shard.
    """
    folder = layout.artifact_folder(stage)
    keys = [read_shard(files, shard, ["key"]).column("key").to_pylist() for shard in shards]
    unique = list(dict.fromkeys(key for of_shard in keys for key in of_shard))
    old_tensors: set[str] = set()
    with ShardWriter(
        files,
        stage,
        layout.shard_name(unique),
        _row_type(read_shard(files, shards[0]).schema),
        rows=len(unique),
        metadata=files.read_metadata(shards[0]),
    ) as writer:
        schema: pa.Schema | None = None
        for shard in shards:
            table = read_shard(files, shard)
            schema = schema or table.schema
            if not table.schema.equals(schema):
                raise Damaged(shard, "it has other columns than shards that were made alike")
            old_tensors |= {f"{folder}/{name}" for name in tensor_files(table)}
            _copy_rows(files, folder, shard, table, writer)
            beat()
        if missing := set(unique) - set(writer.keys):
            raise Damaged(shards[0], f"its key {min(missing)} went while it was copied")
        retire(old_tensors)
        committed = writer.commit()
        nbytes = writer.nbytes
    assert committed is not None
    check_whole(files, committed)
    replaced = [shard for shard in shards if shard != committed]
    remove_rows(files, replaced, set(unique))
    return Merged(committed, replaced, nbytes)


def remove_rows(files: StoreFiles, shards: Sequence[str], held: set[str]) -> None:
    """Removes Parquet files all of whose keys are `held` elsewhere."""
    for shard in shards:
        # Looked at again: a task that ran a second time may have put more rows there meanwhile.
        if set(read_shard(files, shard, ["key"]).column("key").to_pylist()) <= held:
            remove_part(files, shard)


def remove_part(files: StoreFiles, name: str) -> None:
    """Removes a Parquet file.

    Raises:
        StoreError: it may not be removed; what it holds is also in the merged file.
    """
    try:
        files.remove(name)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"store {files.root}: {name} cannot be removed ({error.strerror})") from error


def read_shard(files: StoreFiles, shard: str, columns: list[str] | None = None) -> pa.Table:
    """A Parquet file's table.

    Raises:
        Damaged: it cannot be read.
    """
    try:
        return files.read_table(shard, columns)
    except StoreError as error:
        raise Damaged(shard, str(error)) from error


def check_whole(files: StoreFiles, shard: str) -> None:
    """Checks that a shard's tensor files are there and long enough.

    Raises:
        Damaged: they are not.
    """
    folder = shard.rpartition("/")[0]
    ends: dict[str, int] = {}
    table = files.read_table(shard)
    for column in table.schema:
        for cell in table.column(column.name).to_pylist() if column.type == TENSOR else ():
            if cell is not None and cell["file"] is not None:
                end = int(cell["offset"]) + int(cell["nbytes"])
                ends[cell["file"]] = max(end, ends.get(cell["file"], 0))
    for name, end in ends.items():
        path = f"{folder}/{layout.checked(name)}"
        if not files.exists(path) or files.size(path) < end:
            raise Damaged(shard, f"{name} is missing or too short")


def _copy_rows(files: StoreFiles, folder: str, shard: str, table: pa.Table, writer: ShardWriter) -> None:
    row_type = _row_type(table.schema)
    present = set(writer.keys)
    for batch in table.to_batches(max_chunksize=64):
        for row in batch.to_pylist():
            if row["key"] not in present:
                present.add(row["key"])
                try:
                    writer.add(row["key"], row["clip_id"], row_type(row, files, folder, shard))
                except TypeError as error:
                    raise Damaged(shard, str(error)) from error
    files.forget()


class _Row(Record):
    """A row as it is, whatever stage it is of. Its tensors are copied when it is written, and their digests
    compared."""

    def __init__(self, row: Mapping[str, Any], files: StoreFiles, folder: str, shard: str) -> None:
        object.__setattr__(self, "_source", (row, files, folder, shard))

    def to_row(self, put: PutTensor | None = None) -> dict[str, Any]:
        row, files, folder, shard = cast(
            tuple[Mapping[str, Any], StoreFiles, str, str], object.__getattribute__(self, "_source")
        )
        assert put is not None
        copied = {column.name: row[column.name] for column in self.SCHEMA}
        for column in self.SCHEMA:
            if column.type == TENSOR and row[column.name] is not None:
                tensor = _StoredTensor(files, folder, shard, row[column.name])
                ref = put(column.name, cast(Tensor, tensor))
                if ref.digest != tensor.ref.digest:
                    raise Damaged(
                        shard, f"{column.name} of key {row['key']} has other bytes than were written"
                    )
                copied[column.name] = ref.to_cell()
        return copied


def _row_type(schema: pa.Schema) -> type[_Row]:
    """A record of a stage's own columns: all but the key and the clip."""
    own = pa.schema([field for field in schema if field.name not in ("key", "clip_id")])
    return type("Row", (_Row,), {"SCHEMA": own})


class _StoredTensor:
    """A tensor in a shard, given as uint8 chunks of its bytes."""

    def __init__(self, files: StoreFiles, folder: str, shard: str, cell: dict[str, Any]) -> None:
        self._files, self._folder, self._shard = files, folder, shard
        try:
            self.ref = TensorRef.from_cell(cell)
            self.dtype = numpy_dtype(self.ref.dtype)
            self.shape = self.ref.shape
            nbytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
            if nbytes != self.ref.nbytes or (self.ref.data is None) == (self.ref.file is None):
                raise ValueError("a tensor's shape, bytes and place do not fit each other")
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(shard, str(error)) from error

    def chunks(self) -> Iterator[Tensor]:
        if self.ref.data is not None:
            yield np.frombuffer(self.ref.data, np.uint8)
            return
        try:
            name = f"{self._folder}/{layout.checked(self.ref.file or '')}"
            for start in range(0, self.ref.nbytes, _CHUNK):
                nbytes = min(_CHUNK, self.ref.nbytes - start)
                yield self._files.read_range(name, (self.ref.offset or 0) + start, nbytes)
        except (OSError, ValueError) as error:
            raise Damaged(self._shard, str(error)) from error

"""Which keys a store holds, as Arrow columns: membership of a million keys is one hash join."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas import OutcomeRecord, Record
from wanprep.errors import StoreError
from wanprep.store.columns import with_new_columns
from wanprep.store.fs import StoreFiles
from wanprep.store.layout import OUTCOMES, artifact_folder
from wanprep.store.parts import read_parts


class KeyIndex:
    """The keys of one stage's artifacts and the file each is in."""

    def __init__(self, keys: pa.ChunkedArray, file_of_row: npt.NDArray[np.int32], files: list[str]) -> None:
        self._keys = keys
        self._file_of_row = file_of_row
        self._files = files

    @classmethod
    def load(cls, files: StoreFiles, stage: str) -> KeyIndex:
        names, tables = read_parts(
            files, artifact_folder(stage), lambda name: files.read_table(name, ["key"])
        )
        columns = [table.column("key") for table in tables]
        for name, column in zip(names, columns, strict=True):
            if column.type != pa.string():
                raise StoreError(f"store {files.root}: {name} has keys of type {column.type}, not text")
        keys = pa.chunked_array([c for column in columns for c in column.chunks], type=pa.string())
        rows = np.repeat(np.arange(len(names), dtype=np.int32), [len(column) for column in columns])
        return cls(keys, rows, names)

    def __len__(self) -> int:
        return len(self._keys)

    def keys(self) -> pa.ChunkedArray:
        return self._keys

    def rows(self, wanted: Sequence[str] | pa.Array) -> npt.NDArray[np.int64]:
        """For each wanted key the row that holds it, -1 where none does. The first row of a key counts."""
        wanted = wanted if isinstance(wanted, pa.Array) else pa.array(wanted, pa.string())
        if len(self._keys) == 0:
            return np.full(len(wanted), -1, dtype=np.int64)
        found = pc.index_in(wanted, value_set=self._keys)
        return np.asarray(found.fill_null(-1), dtype=np.int64)

    def file(self, row: int) -> str:
        return self._files[int(self._file_of_row[row])]

    def find(self, key: str) -> str | None:
        """The Parquet file that holds a key."""
        row = int(self.rows([key])[0])
        return self.file(row) if row >= 0 else None


def read_rows(files: StoreFiles, name: str, record: type[Record]) -> pa.Table:
    """A Parquet file whose rows are records of this kind; other columns are left out.

    Raises:
        StoreError: it cannot be read, or its columns are not the record's.
    """
    table = with_new_columns(files.read_table(name), record.SCHEMA)
    for field in record.SCHEMA:
        if field.name not in table.column_names or table.schema.field(field.name).type != field.type:
            raise StoreError(f"store {files.root}: {name} has no column '{field.name}' of type {field.type}")
    return table.select(record.SCHEMA.names)


def load_outcomes(files: StoreFiles) -> pa.Table | None:
    """All rows of the outcomes table, newest first; None when there are none."""
    _, parts = read_parts(files, OUTCOMES, lambda name: read_rows(files, name, OutcomeRecord))
    if not parts:
        return None
    table = pa.concat_tables(parts)
    return table.sort_by([("created_ns", "descending")])

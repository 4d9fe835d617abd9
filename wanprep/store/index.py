"""Which keys a store holds, as Arrow columns: membership of a million keys is one hash join."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from wanprep.store.fs import StoreFiles
from wanprep.store.layout import OUTCOMES, artifact_folder


class KeyIndex:
    """The keys of one stage's artifacts and the file each is in."""

    def __init__(self, keys: pa.ChunkedArray, file_of_row: npt.NDArray[np.int32], files: list[str]) -> None:
        self._keys = keys
        self._file_of_row = file_of_row
        self._files = files

    @classmethod
    def load(cls, files: StoreFiles, stage: str) -> KeyIndex:
        names = files.names(artifact_folder(stage), ".parquet")
        columns = [files.read_table(name, ["key"]).column("key") for name in names]
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


def load_outcomes(files: StoreFiles) -> pa.Table | None:
    """All rows of the outcomes table, newest first; None when there are none."""
    names = files.names(OUTCOMES, ".parquet")
    if not names:
        return None
    table = pa.concat_tables([files.read_table(name) for name in names])
    return table.sort_by([("created_ns", "descending")])

"""What others commit while a job is at work. Two jobs on one store plan the same clips when neither has made them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from wanprep.errors import StoreError
from wanprep.store.fs import StoreFiles
from wanprep.store.layout import artifact_folder


class Meanwhile:
    """Watches one stage's files from now on, so that a key which another job was first to make is not made twice.

    It looks just before a commit and takes no lock: two commits in the same instant both go through, and readers
    take the first row. In a bucket it does not look, since each new file would cost a request.
    """

    def __init__(self, files: StoreFiles, stage: str) -> None:
        self._files = files
        self._folder = artifact_folder(stage)
        self._before = frozenset(self._names())
        self._keys: dict[str, pa.ChunkedArray] = {}  # by file

    def _names(self) -> list[str]:
        return [] if self._files.remote else self._files.names(self._folder, ".parquet")

    def find(self, keys: Sequence[str]) -> dict[str, str]:
        """Key -> Parquet file of those keys that are in a new file.

        Raises:
            StoreError: a new file cannot be read.
        """
        found: dict[str, str] = {}
        wanted = pa.array(keys, pa.string())
        for name in self._names():
            if name in self._before:
                continue
            if name not in self._keys:
                try:
                    self._keys[name] = self._files.read_table(name, ["key"]).column("key")
                except StoreError:
                    if self._files.exists(name):
                        raise
                    continue  # merged into another file since it was listed
            present = wanted.filter(pc.is_in(wanted, value_set=self._keys[name]))
            found.update(dict.fromkeys(present.to_pylist(), name))
        return found

"""Reads all Parquet files of a folder while others add to it and merge what is in it."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from wanprep.errors import StoreError
from wanprep.store.fs import StoreFiles


class Vanished(StoreError):
    """A file is gone that was there before: a compaction has moved its rows."""


def read_parts(
    files: StoreFiles, folder: str, read: Callable[[str], pa.Table]
) -> tuple[list[str], list[pa.Table]]:
    """Names and tables of a folder's Parquet files, in the order of their names.

    Looks again until nothing new is there: a merged file is written before those it replaces go, so what vanishes
    between listing and reading, or was missed by a listing in which both changed, is in a file of the next listing.

    Raises:
        StoreError: a file cannot be read that is there.
    """
    tables: dict[str, pa.Table] = {}
    gone: set[str] = set()
    while new := [n for n in files.names(folder, ".parquet") if n not in tables and n not in gone]:
        for name in new:
            try:
                tables[name] = read(name)
            except (StoreError, FileNotFoundError):
                if files.exists(name):
                    raise
                gone.add(name)
    names = sorted(tables)
    return names, [tables[name] for name in names]

"""Compares stores by what they hold, not by how their files are cut."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from schemas.tensor import TENSOR, TensorRef
from wanprep.store import layout
from wanprep.store.store import Store


def contents(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """(stage, key) -> columns, tensors as (dtype, shape, bytes).

    Raises:
        AssertionError: a key is there twice.
    """
    store = Store.open(str(folder))
    found: dict[tuple[str, str], dict[str, Any]] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for stage in store.files.folders(layout.ARTIFACTS):
        base = layout.artifact_folder(stage)
        for name in store.files.names(base, ".parquet"):
            table = store.files.read_table(name)
            tensors = {column.name for column in table.schema if column.type == TENSOR}
            for row in table.to_pylist():
                seen[stage, row["key"]] += 1
                found[stage, row["key"]] = {
                    column: _tensor(store, value, base) if column in tensors and value else value
                    for column, value in row.items()
                }
    assert not [key for key, count in seen.items() if count > 1]
    return found


def _tensor(store: Store, cell: dict[str, Any], folder: str) -> tuple[str, tuple[int, ...], bytes]:
    array = store.tensor(TensorRef.from_cell(cell), folder)
    return str(array.dtype), array.shape, np.ascontiguousarray(array).tobytes()

"""Tensor cells that lie: one line of a StoreError, never a wild read or a large allocation."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import wanprep
from wanprep.errors import StoreError

Edit = Callable[[Path, Callable[[dict[str, Any]], None]], None]
FAR = 2**63 - 1
LIES: dict[str, dict[str, Any]] = {
    "negative bytes": {"nbytes": -1},
    "negative offset": {"offset": -64},
    "both negative": {"offset": -100, "nbytes": -1},
    "an offset beyond the file": {"offset": 1 << 40},
    "the largest offset": {"offset": FAR},
    "more bytes than the file": {"nbytes": 1 << 40},
    "no bytes": {"nbytes": None},
    "a shape that overflows to its size": {"shape": [2**32, 2**32]},
    "a huge shape": {"shape": [FAR, FAR, FAR]},
    "a negative shape": {"shape": [-1]},
    "two negative axes": {"shape": [-4, -4]},
    "an axis without length": {"shape": [None]},
    "too many axes": {"shape": [1] * 100},
    "no shape": {"shape": None},
    "objects": {"dtype": "object"},
    "objects by their letter": {"dtype": "O"},
    "a structure": {"dtype": "i4,O"},
    "text": {"dtype": "U4"},
    "dates": {"dtype": "datetime64[ns]"},
    "no dtype": {"dtype": None},
    "neither inline nor in a shard": {"file": None, "data": None},
}


# In the row a tensor has no place in a file to lie about.
CASES = [
    *(("blocks", lie) for lie in LIES),
    *(("motion_T", lie) for lie in LIES if LIES[lie].keys() & {"shape", "dtype", "file"}),
]


@pytest.mark.parametrize(("column", "lie"), CASES)
def test_a_cell_that_lies(
    store: Path, command: Callable[..., Any], edit: Edit, lie: str, column: str
) -> None:
    (rows,) = (store / "artifacts/flow").glob("*.parquet")
    edit(rows, lambda row: row[column].update(LIES[lie]))
    tracemalloc.start()
    try:
        with pytest.raises(StoreError) as caught:
            _ = next(wanprep.open(str(store)).clips()).flow
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    said = command("verify", store)
    assert said.code == 1 and "1 problem" in said.out and "Traceback" not in said.err
    assert command("sheet", store).refused


@pytest.mark.parametrize("size", [(2**31 - 1, 2**31 - 1), (0, 0), (-1, -1), (40_000, 40_000)])
def test_frames_of_a_size_that_cannot_be(
    store: Path, command: Callable[..., Any], edit: Edit, size: tuple[int, int]
) -> None:
    (rows,) = (store / "artifacts/flow").glob("*.parquet")
    edit(rows, lambda row: row.update(width=size[0], height=size[1]))
    assert "does not fit the clip" in command("sheet", store).refused


def test_offsets_of_frames_that_lie(store: Path, command: Callable[..., Any], edit: Edit) -> None:
    import numpy as np

    (rows,) = (store / "artifacts/flow").glob("*.parquet")
    wild = np.full(30, 2**62, np.int64)
    edit(rows, lambda row: row["offsets_T"].update(data=wild.tobytes(), file=None, shape=[30], nbytes=240))
    assert "does not fit the clip" in command("sheet", store).refused


@pytest.mark.parametrize("folder", ["clips", "media", "outcomes", "artifacts/flow"])
@pytest.mark.parametrize(
    "table",
    [
        pa.table({"x": [1]}),
        pa.table({"key": [1], "clip_id": [2]}),
        pa.table({"key": pa.array([["a"]]), "created_ns": ["now"], "clip_id": ["c"]}),
    ],
)
def test_tables_of_something_else(
    store: Path, command: Callable[..., Any], folder: str, table: pa.Table
) -> None:
    (store / folder).mkdir(exist_ok=True)
    pq.write_table(table, store / folder / "part-zz.parquet")
    for said in (command("status", store), command("sheet", store), command("verify", store)):
        assert said.code == 0 or said.err.startswith("wanprep: ") or "wrong" in said.out, said
        assert said.err.count("\n") <= 1
    assert command("verify", store).code == 1


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{}", "[]", "7" * 10_000, '{"format_version": "x"}', '{"format_version": 1e999}']
)
def test_json_that_is_none_of_ours(store: Path, command: Callable[..., Any], text: str) -> None:
    (store / "runs/zz.json").write_text(text)
    assert command("status", store, "--watch").refused
    (store / "store.json").write_text(text)
    assert command("status", store).refused
    assert command("verify", store).refused


def test_a_store_json_that_is_huge_is_not_read(store: Path, command: Callable[..., Any]) -> None:
    with (store / "store.json").open("wb") as file:
        file.truncate(1 << 40)  # a hole: it takes no room on the disk
    assert "is larger than" in command("status", store).refused

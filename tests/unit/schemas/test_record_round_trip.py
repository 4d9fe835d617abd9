"""Every record comes back from a store as it went in, and other programs read its tensors."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.tables import TABLES
from safetensors.numpy import load_file

from schemas import Record
from schemas.registry import RECORDS
from schemas.tensor import SAFETENSORS_DTYPES, TENSOR, Tensor, TensorRef
from wanprep.spool import ArraySpool
from wanprep.store import Store
from wanprep.store.shard import INLINE_BYTES, ShardWriter

KEY = "0123456789abcdef" * 2


def example(record: type[Record], tensor: Tensor, *, sparse: bool = False) -> Record:
    """A record with a value in each column; `sparse` leaves out what may be left out."""
    values = {c.name: None if sparse and c.nullable else _value(c, tensor) for c in record.SCHEMA}
    return record(**values)


def _value(column: pa.Field, tensor: Tensor) -> Any:
    kind = column.type
    if kind == TENSOR:
        return tensor
    if pa.types.is_map(kind) and pa.types.is_floating(kind.item_type):
        return {"brightness": 0.25, "people": -1e300}
    if pa.types.is_map(kind):
        return {"skeleton": KEY, "flow": KEY[::-1]}
    if pa.types.is_fixed_size_list(kind):
        return [0.5] * kind.list_size
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        return [{field.name: 3 for field in kind.value_type}]
    if pa.types.is_list(kind):
        return [7, 0] if pa.types.is_integer(kind.value_type) else [f"{column.name} é", ""]
    if pa.types.is_boolean(kind):
        return True
    if pa.types.is_string(kind):
        return f"{column.name}: ✓\n'\""
    return 0.25 if pa.types.is_floating(kind) else 7


def assert_same(made: Record, read: Record) -> None:
    assert type(read) is type(made)
    for column in made.SCHEMA:
        before, after = getattr(made, column.name), getattr(read, column.name)
        if column.type == TENSOR and before is not None:
            assert after.dtype == before.dtype and after.shape == before.shape
            np.testing.assert_array_equal(after, before)
        else:
            assert after == before, column.name


@pytest.mark.parametrize("sparse", [False, True], ids=["full", "sparse"])
@pytest.mark.parametrize("rows", [3, 4000], ids=["inline", "by reference"])
@pytest.mark.parametrize("stage", RECORDS)
def test_artifact_comes_back_equal(tmp_path: Path, stage: str, rows: int, sparse: bool) -> None:
    tensor = np.random.default_rng(rows).standard_normal((rows, 5)).astype(np.float32)
    assert (tensor.nbytes > INLINE_BYTES) == (rows == 4000)
    made = example(RECORDS[stage], tensor, sparse=sparse)
    store = Store.create(str(tmp_path))
    with ShardWriter(store.files, stage, "part-a", RECORDS[stage], rows=1, metadata={}) as shard:
        shard.add(KEY, "clip", made)
        again = shard.read(KEY)
        assert again is not None
        assert_same(made, again)
        shard.commit()
    read = Store.open(str(tmp_path)).artifact(stage, KEY)
    assert isinstance(read, Record)
    assert_same(made, read)
    assert bool(store.files.names(f"artifacts/{stage}", ".safetensors")) == (rows == 4000)


@pytest.mark.parametrize("table", ["clips", "media", "outcomes"])
@pytest.mark.parametrize("sparse", [False, True], ids=["full", "sparse"])
def test_table_row_comes_back_equal(tmp_path: Path, table: str, sparse: bool) -> None:
    record = TABLES[table]
    made = example(record, np.zeros(0), sparse=sparse)
    store = Store.create(str(tmp_path))
    name = store.write_rows(table, record, [made], ["x"])
    read = record.from_row(store.files.read_table(name).to_pylist()[0])
    assert read == made
    assert pq.read_schema(tmp_path / name).metadata[b"wanprep.schema"] == b"1"


def test_safetensors_library_sees_equal_tensors(tmp_path: Path) -> None:
    """Odd sizes make alignment gaps, which the format does not allow and the shard must account for."""
    rng = np.random.default_rng(0)
    made = {
        f"{number:032x}": example(
            RECORDS["skeleton"], rng.integers(0, 255, (INLINE_BYTES + 1 + number, 1), np.uint8)
        )
        for number in range(5)
    }
    store = Store.create(str(tmp_path))
    with ShardWriter(store.files, "skeleton", "part-a", RECORDS["skeleton"], rows=5, metadata={}) as shard:
        for key, record in made.items():
            shard.add(key, "clip", record)
        shard.commit()
    (path,) = (tmp_path / "artifacts/skeleton").glob("part-a-*.safetensors")
    tensors = load_file(path)
    for key, record in made.items():
        for column in RECORDS["skeleton"].tensor_columns():
            np.testing.assert_array_equal(tensors[f"{key}.{column}"], getattr(record, column))
    room = struct.unpack("<Q", path.read_bytes()[:8])[0]
    assert (8 + room) % 64 == 0
    header = json.loads(path.read_bytes()[8 : 8 + room])
    assert all(entry["data_offsets"][0] % 64 == 0 for name, entry in header.items() if "padding" not in name)


@pytest.mark.parametrize("dtype", [name for name in SAFETENSORS_DTYPES if name != "bfloat16"])
def test_every_dtype_of_a_store_comes_back(tmp_path: Path, dtype: str) -> None:
    tensor = (np.arange(40_000) % 2).astype(dtype).reshape(200, 200)
    store = Store.create(str(tmp_path))
    with ShardWriter(store.files, "mask", "part-a", RECORDS["mask"], rows=1, metadata={}) as shard:
        shard.add(KEY, "clip", example(RECORDS["mask"], tensor))
        shard.commit()
    read: Any = store.artifact("mask", KEY)
    np.testing.assert_array_equal(read.blocks, tensor)
    assert read.blocks.dtype == tensor.dtype
    assert not read.blocks.flags.writeable
    (path,) = (tmp_path / "artifacts/mask").glob("part-a-*.safetensors")
    library = load_file(path)
    np.testing.assert_array_equal(library[f"{KEY}.blocks"], tensor)


def test_other_dtypes_and_missing_values_are_refused_and_leave_the_shard_good(tmp_path: Path) -> None:
    store = Store.create(str(tmp_path))
    good = example(RECORDS["mask"], np.zeros(INLINE_BYTES, np.float64))
    with ShardWriter(store.files, "mask", "part-a", RECORDS["mask"], rows=4, metadata={}) as shard:
        for bad, why in (
            (example(RECORDS["mask"], np.zeros(9, np.complex64)), "complex64"),
            (example(RECORDS["mask"], np.zeros(9, ">f4")), ">f4"),
            (RECORDS["mask"](**{**_fields(good), "backend": None}), "backend is None"),
            (RECORDS["mask"](**{**_fields(good), "frames": "many"}), "does not fit its schema"),
            (RECORDS["mask"](**{**_fields(good), "width": 1 << 40}), "does not fit its schema"),
        ):
            with pytest.raises(TypeError, match=why):
                shard.add("f" * 32, "clip", bad)
        shard.add(KEY, "clip", good)
        assert shard.keys == [KEY]
        shard.commit()
    read = Store.open(str(tmp_path)).artifact("mask", KEY)
    assert isinstance(read, Record)
    assert_same(good, read)


def _fields(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.SCHEMA.names}


def test_stream_is_written_as_the_array_it_stands_for(tmp_path: Path) -> None:
    whole = np.random.default_rng(1).standard_normal((70_000, 9)).astype(np.float32)
    spool = ArraySpool(np.float32, (9,), tmp_path)
    spool.append(whole)
    store = Store.create(str(tmp_path / "store"))
    for stage, tensor in (("mask", spool.tensor()), ("flow", whole)):
        with ShardWriter(store.files, stage, "part-a", RECORDS[stage], rows=1, metadata={}) as shard:
            shard.add(KEY, "clip", example(RECORDS[stage], tensor))
            shard.commit()
    streamed: Any = store.artifact("mask", KEY)
    at_once: Any = store.artifact("flow", KEY)
    np.testing.assert_array_equal(streamed.blocks, whole)
    np.testing.assert_array_equal(at_once.blocks, whole)


def test_tensor_of_wrong_size_is_refused() -> None:
    ref = TensorRef(dtype="float32", shape=(2, 3), nbytes=24, digest="", data=b"")
    assert ref.decode(bytes(24)).shape == (2, 3)
    for size in (0, 23, 25, 48):
        with pytest.raises(ValueError, match=f"has 24 bytes, not {size}"):
            ref.decode(bytes(size))


def test_empty_tensor_comes_back_with_its_shape() -> None:
    ref = TensorRef(dtype="float32", shape=(0, 133, 3), nbytes=0, digest="", data=b"")
    assert ref.decode(b"").shape == (0, 133, 3)
    assert TensorRef.from_cell(ref.to_cell()) == ref


def test_record_with_tensors_needs_a_place_for_them() -> None:
    record = example(RECORDS["mask"], np.zeros(3))
    with pytest.raises(TypeError, match="needs `put`"):
        record.to_row()
    row = record.to_row(
        lambda name, tensor: TensorRef(dtype="uint8", shape=(0,), nbytes=0, digest="", data=b"")
    )
    with pytest.raises(TypeError, match="needs `get`"):
        RECORDS["mask"].from_row(row)
    with pytest.raises(KeyError):
        RECORDS["mask"].from_row({})

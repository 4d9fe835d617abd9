"""bfloat16 tensors: in a row, in a shard, streamed, verified, merged, and read without the package that names them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers.stages import CountRecord
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import wanprep
from schemas.tensor import BFLOAT16, Tensor, TensorRef, numpy_dtype
from wanprep.spool import ArraySpool
from wanprep.store import Store, layout
from wanprep.store.compact import compact
from wanprep.store.shard import INLINE_BYTES, ShardWriter
from wanprep.store.verify import verify

KEY = "0123456789abcdef" * 2
SPEC = {"wanprep.schema": "1", "wanprep.spec": '{"version":1}', "wanprep.libraries": "{}"}


def put(store: Store, tensor: Tensor, key: str = KEY) -> None:
    record = CountRecord(frames=1, sizes=[], levels_T=np.zeros(1, np.float32), large_TC=tensor)
    name = layout.shard_name([key])
    with ShardWriter(store.files, "count", name, CountRecord, rows=1, metadata=SPEC) as shard:
        shard.add(key, "clip", record)
        again: Any = shard.read(key)
        assert again.large_TC.dtype == BFLOAT16
        shard.commit()


def cell(root: Path) -> dict[str, Any]:
    (path,) = (root / "artifacts/count").glob("*.parquet")
    found: dict[str, Any] = pq.read_table(path).column("large_TC")[0].as_py()
    return found


def raw(root: Path) -> bytes:
    """The stored bytes, found as a reader without any of this project finds them."""
    found = cell(root)
    if found["data"] is not None:
        return bytes(found["data"])
    with (root / "artifacts/count" / found["file"]).open("rb") as shard:
        shard.seek(found["offset"])
        return shard.read(found["nbytes"])


def same_bits(left: Tensor, right: Tensor) -> None:
    """Not-a-number has many bit patterns, and equals none of them: compare bits."""
    assert left.dtype == right.dtype == BFLOAT16 and left.shape == right.shape
    np.testing.assert_array_equal(
        np.ascontiguousarray(left).view(np.uint16), np.ascontiguousarray(right).view(np.uint16)
    )


@settings(max_examples=25)
@given(
    bits=hnp.arrays(np.uint16, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=9)),
    repeat=st.sampled_from([1, 3000]),
    streamed=st.booleans(),
)
def test_every_bit_pattern_comes_back(bits: Tensor, repeat: int, streamed: bool) -> None:
    whole = np.concatenate([bits] * repeat).view(BFLOAT16)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "store"
        store = Store.create(str(root))
        tensor: Tensor = whole
        if streamed:
            spool = ArraySpool(BFLOAT16, whole.shape[1:], Path(folder))
            for part in np.array_split(whole, 3):
                spool.append(part)
            tensor = spool.tensor()
        put(store, tensor)
        read: Any = Store.open(str(root)).artifact("count", KEY, record=CountRecord)
        same_bits(read.large_TC, whole)
        assert not read.large_TC.flags.writeable
        assert (cell(root)["file"] is not None) == (whole.nbytes > INLINE_BYTES)
        assert cell(root)["dtype"] == "bfloat16"
        report = verify(store)
        assert report.clean and report.nbytes == whole.nbytes + 4
        values = (np.frombuffer(raw(root), "<u2").astype(np.uint32) << 16).view(np.float32)
        np.testing.assert_array_equal(values.reshape(whole.shape), whole.astype(np.float32))


def test_a_changed_bit_is_found(tmp_path: Path) -> None:
    store = Store.create(str(tmp_path))
    put(store, np.ones((INLINE_BYTES, 1), BFLOAT16))
    (path,) = (tmp_path / "artifacts/count").glob("*.safetensors")
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    (problem,) = verify(Store.open(str(tmp_path))).problems
    assert "other bytes than were written" in problem


def test_merged_shards_hold_the_same_bits(tmp_path: Path) -> None:
    store = Store.create(str(tmp_path))
    tensors = {
        f"{number:032x}": np.linspace(-number, 3, 20_000 if number % 2 else 20).astype(BFLOAT16)[:, None]
        for number in range(4)
    }
    for key, tensor in tensors.items():
        put(store, tensor, key)
    compact(str(tmp_path), grace_seconds=0)
    assert len(list((tmp_path / "artifacts/count").glob("*.parquet"))) == 1
    merged = wanprep.open(str(tmp_path))
    for key, tensor in tensors.items():
        found: Any = merged.artifact("count", key, record=CountRecord)
        same_bits(found.large_TC, tensor)
    assert verify(merged).clean


def test_torch_libraries_read_a_shard(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    safetensors_torch = pytest.importorskip("safetensors.torch")
    whole = np.random.default_rng(0).standard_normal((300, 64)).astype(BFLOAT16)
    put(Store.create(str(tmp_path)), whole)
    (path,) = (tmp_path / "artifacts/count").glob("*.safetensors")
    read = safetensors_torch.load_file(path)[f"{KEY}.large_TC"]
    assert read.dtype == torch.bfloat16
    same_bits(read.view(torch.int16).numpy().view(BFLOAT16), whole)


def test_dtypes_by_name() -> None:
    assert numpy_dtype("bfloat16") == BFLOAT16 and numpy_dtype("float16") == np.float16
    for name in ("float8_e4m3fn", "V2", ">f4", "O", ""):
        with pytest.raises(ValueError, match="is no dtype of a store"):
            numpy_dtype(name)


def test_a_cell_of_the_wrong_size_is_refused() -> None:
    ref = TensorRef(dtype="bfloat16", shape=(3,), nbytes=6, digest="", data=b"")
    same_bits(ref.decode(bytes(6)), np.zeros(3, BFLOAT16))
    with pytest.raises(ValueError, match="has 6 bytes, not 3"):
        ref.decode(bytes(3))

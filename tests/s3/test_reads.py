"""Reading from a bucket: what is asked for and no more."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import s3fs
import xxhash
from s3.conftest import KEY_ID, SECRET, TOKEN, Server

from schemas.tensor import TENSOR, TensorRef
from wanprep.errors import StoreError
from wanprep.store import layout
from wanprep.store.store import Store


@pytest.fixture
def opened(made: str) -> Store:
    return Store.open(made)


def shard_of(store: Store) -> tuple[str, list[dict]]:
    """The tensor file of the first clip's flow, and the cells that refer to it. A slow machine makes a task, and so a
    file, of each clip."""
    key = next(iter(store.clips())).record.keys["flow"]
    tables = {
        shard: store.files.read_table(layout.rows_file(shard))
        for shard in store.files.names("artifacts/flow", ".safetensors")
    }
    shard, table = next(found for found in tables.items() if key in found[1]["key"].to_pylist())
    columns = [column.name for column in table.schema if column.type == TENSOR]
    cells = [row[name] for row in table.to_pylist() for name in columns if row[name] and row[name]["file"]]
    assert {cell["file"] for cell in cells} == {shard.rpartition("/")[2]}
    return shard, cells


def test_a_tensor_is_one_ranged_read(server: Server, opened: Store) -> None:
    shard, cells = shard_of(opened)
    size = opened.files.size(shard)
    for cell in cells:
        ref = TensorRef.from_cell(cell)
        server.proxy.requests = []
        array = opened.tensor(ref, "artifacts/flow")
        assert xxhash.xxh3_128(np.ascontiguousarray(array).tobytes()).hexdigest() == ref.digest
        (request,) = server.proxy.requests
        assert (request.method, request.status, request.nbytes) == ("GET", 206, ref.nbytes)
        assert request.range == f"bytes={ref.offset}-{(ref.offset or 0) + ref.nbytes - 1}"
        assert request.nbytes < size


def test_an_artifact_reads_its_rows_and_its_own_bytes(server: Server, opened: Store) -> None:
    shard, cells = shard_of(opened)
    clip = opened.clip(next(iter(opened.clips())).id)
    server.proxy.requests = []
    blocks = clip.flow.blocks
    requests = server.proxy.of("GET", shard)
    assert all(request.range and request.status == 206 for request in requests)
    wanted = sum(cell["nbytes"] for cell in cells if cell["nbytes"] == blocks.nbytes)
    assert blocks.nbytes <= sum(request.nbytes for request in requests) <= wanted
    assert sum(request.nbytes for request in requests) < opened.files.size(shard)


def test_an_index_leaves_the_tensors_in_the_rows_alone(server: Server, store: str) -> None:
    """Keys are one column of a file whose other columns may be a thousand times larger."""
    opened = Store.create(store)
    rows = pa.table({"key": ["a" * 32], "large": [np.random.default_rng(0).bytes(1 << 20)]})
    opened.files.write_table("artifacts/other/part-1.parquet", rows)
    server.proxy.requests = []
    assert opened.index("other").find("a" * 32) == "artifacts/other/part-1.parquet"
    assert sum(request.nbytes for request in server.proxy.of("GET", "part-1.parquet")) < 100_000
    assert opened.files.read_metadata("artifacts/other/part-1.parquet") == {}


def test_a_shard_cut_short_is_named(opened: Store, store: str) -> None:
    shard, cells = shard_of(opened)
    damaged = Store.create(store)
    damaged.files.write_bytes("artifacts/flow/cut.safetensors", opened.files.read_bytes(shard)[:-4096])
    damaged.files.write_bytes("artifacts/flow/short.safetensors", b"short")
    last = max(cells, key=lambda cell: cell["offset"])
    for name, said in (("cut", "beyond its end"), ("short", "cannot be read"), ("gone", "is missing")):
        ref = replace(TensorRef.from_cell(last), file=f"{name}.safetensors")
        with pytest.raises(StoreError, match=rf"{name}\.safetensors .*{said}|{said}") as caught:
            damaged.tensor(ref, "artifacts/flow")
        assert "\n" not in str(caught.value) and store in str(caught.value)


def test_store_files_travel_without_connections_and_credentials(opened: Store) -> None:
    for files in (opened.files, Store.create(opened.files.root).files):
        data = pickle.dumps(files)
        assert KEY_ID.encode() not in data and SECRET.encode() not in data and TOKEN.encode() not in data
        again = pickle.loads(data)
        assert again.root == files.root and again.run == files.run
        assert again.names(layout.CLIPS) == files.names(layout.CLIPS) != []


def test_what_is_not_there(opened: Store) -> None:
    files = opened.files
    assert files.names("nothing") == [] and files.folders("nothing") == []
    assert not files.exists("nothing") and files.exists("store.json")
    assert files.folders(layout.ARTIFACTS) == ["flow", "quality"]
    for read in (files.size, files.read_bytes):
        with pytest.raises((FileNotFoundError, StoreError)):
            read("nothing.bin")
    with pytest.raises(StoreError, match=r"nothing\.parquet cannot be read"):
        files.read_table("nothing.parquet")
    assert files.temporaries() == [] and files.free_bytes() is None


def test_large_objects_go_in_parts(server: Server, store: str) -> None:
    """What is read back in parts is what was written."""
    opened = Store.create(store)
    data = np.random.default_rng(1).bytes(12 << 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3fs.core, "calculate_chunksize", lambda *a, **k: 5 << 20)
        opened.files.write_bytes("artifacts/flow/large.safetensors", data)
    assert len(server.proxy.of("PUT", "partNumber=")) == 3
    assert (
        bytes(opened.files.read_range("artifacts/flow/large.safetensors", 7 << 20, 4096))
        == data[7 << 20 :][:4096]
    )
    assert opened.files.read_bytes("artifacts/flow/large.safetensors") == data

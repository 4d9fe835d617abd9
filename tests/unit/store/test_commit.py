"""A shard is there whole or not at all, whatever happens while it is made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.stages import CountRecord

from wanprep.errors import StoreError
from wanprep.store import Store
from wanprep.store.fs import StoreFiles
from wanprep.store.shard import ShardWriter

LARGE = np.arange(40 * 1024, dtype=np.uint8).reshape(40, 1024)


def count(value: int = 1) -> CountRecord:
    return CountRecord(
        frames=value, sizes=[value], levels_T=np.full(3, value, np.float32), large_TC=LARGE + value
    )


def key(number: int) -> str:
    return f"{number:032x}"


def writer(store: Store, name: str = "part-a", rows: int = 2) -> ShardWriter:
    return ShardWriter(store.files, "count", name, CountRecord, rows=rows, metadata={"wanprep.spec": "{}"})


def put(store: Store, name: str, *numbers: int, value: int | None = None) -> None:
    with writer(store, name, len(numbers)) as shard:
        for number in numbers:
            shard.add(key(number), f"clip{number}", count(number if value is None else value))
        shard.commit()


def files(folder: Path) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(where, name), folder) for where, _, n in os.walk(folder) for name in n
    )


def value_of(store: Store, number: int) -> Any:
    found: Any = store.artifact("count", key(number))
    return None if found is None else found.frames


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(str(tmp_path / "store"), run="run1", created_by="test")


@pytest.mark.parametrize(
    "error", [ValueError("boom"), KeyboardInterrupt(), OSError(5, "I/O"), StoreError("full")]
)
def test_nothing_is_left_of_a_shard_that_was_not_finished(store: Store, error: BaseException) -> None:
    before = files(Path(store.files.root))
    with pytest.raises(type(error)), writer(store) as shard:
        shard.add(key(1), "clip1", count())
        assert files(Path(store.files.root)) != before
        raise error
    assert files(Path(store.files.root)) == before


def test_leaving_without_commit_leaves_nothing(store: Store) -> None:
    with writer(store) as shard:
        shard.add(key(1), "clip1", count())
    assert files(Path(store.files.root)) == ["store.json"]


def test_death_between_tensors_and_rows_shows_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tensors may lie there without rows: no reader sees them, and they do not hide what comes later."""

    def die(self: StoreFiles, name: str, table: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StoreFiles, "write_table", die)
        with pytest.raises(KeyboardInterrupt), writer(store) as shard:
            shard.add(key(1), "clip1", count())
            shard.commit()
    left, about = files(Path(store.files.root))
    assert (
        left.startswith("artifacts/count/part-a-") and left.endswith(".safetensors") and about == "store.json"
    )
    fresh = Store.open(store.files.root)
    assert len(fresh.index("count")) == 0
    assert fresh.artifact("count", key(1)) is None
    put(fresh, "part-a", 1, 2, value=9)
    fresh.refresh()
    assert value_of(fresh, 1) == 9
    np.testing.assert_array_equal(fresh.artifact("count", key(1)).large_TC, LARGE + 9)


def test_full_disk_is_one_line_and_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"cannot be written \(No space left on device\)"):
        put(store, "part-a", 1)
    monkeypatch.undo()
    assert files(Path(store.files.root)) == ["store.json"]


def test_committing_nothing_makes_no_file(store: Store) -> None:
    with writer(store) as shard:
        assert shard.commit() is None
    assert files(Path(store.files.root)) == ["store.json"]


def test_the_first_row_of_a_key_counts(store: Store) -> None:
    put(store, "part-b", 1, 2, value=20)
    put(store, "part-a", 2, 3, value=10)
    store.refresh()
    assert [value_of(store, number) for number in (1, 2, 3, 4)] == [20, 10, 10, None]
    assert store.index("count").rows([key(2), key(4)]).tolist() == [0, -1]
    assert store.index("count").find(key(1)) == "artifacts/count/part-b.parquet"


def test_a_reader_sees_the_store_as_of_its_first_look(store: Store) -> None:
    put(store, "part-a", 1)
    reader = Store.open(store.files.root)
    assert value_of(reader, 1) == 1
    with writer(store, "part-b", 1) as shard:
        shard.add(key(2), "clip2", count(2))
        assert value_of(reader, 2) is None
        assert value_of(Store.open(store.files.root), 2) is None, "not committed yet"
        shard.commit()
    assert value_of(reader, 2) is None
    reader.refresh()
    assert value_of(reader, 2) == 2


def test_refresh_sees_a_shard_that_was_written_again(store: Store) -> None:
    """The memory map of the old file was kept beside the new rows: tensors had other bytes than were stored."""
    put(store, "part-a", 1, 2)
    np.testing.assert_array_equal(store.artifact("count", key(2)).large_TC, LARGE + 2)
    put(store, "part-a", 2, 1, 3, value=7)
    store.refresh()
    np.testing.assert_array_equal(store.artifact("count", key(2)).large_TC, LARGE + 7)


def test_tensors_already_read_survive_a_rewrite(store: Store) -> None:
    put(store, "part-a", 1)
    before = store.artifact("count", key(1)).large_TC
    put(store, "part-a", 1, 2, value=7)
    np.testing.assert_array_equal(before, LARGE + 1)


def test_a_task_that_is_run_again_leaves_the_shard_that_is_there(store: Store) -> None:
    """Its tensors were replaced before its rows: a reader in between, or a kill, saw other bytes than the rows said."""
    put(store, "part-a", 1, 2)
    before = {
        name: (Path(store.files.root) / name).stat().st_mtime_ns for name in files(Path(store.files.root))
    }
    put(store, "part-a", 2, 1)
    after = {
        name: (Path(store.files.root) / name).stat().st_mtime_ns for name in files(Path(store.files.root))
    }
    assert before == after
    assert not store.unreferenced()


def test_only_the_tensors_that_rows_mean_are_kept(store: Store) -> None:
    put(store, "part-a", 1)
    put(store, "part-a", 1, 2)
    assert len(store.files.names("artifacts/count", ".safetensors")) == 2
    (left,) = store.unreferenced()
    store.files.remove(left)
    assert value_of(store, 2) == 2
    np.testing.assert_array_equal(store.artifact("count", key(2)).large_TC, LARGE + 2)


def test_long_column_names_find_room_in_the_header(tmp_path: Path) -> None:
    """Room was kept for names of about 20 letters; longer ones ended the job when the shard was committed."""
    import dataclasses
    from typing import ClassVar

    import pyarrow as pa
    from safetensors.numpy import load_file

    from schemas import Record
    from schemas.tensor import TENSOR

    name = "embedding_of_the_whole_picture_" + "é" * 40
    made = dataclasses.make_dataclass(
        "Long",
        [(name, Any), ("SCHEMA", ClassVar[pa.Schema], pa.schema([pa.field(name, TENSOR)]))],
        bases=(Record,),
        frozen=True,
        slots=True,
        kw_only=True,
    )
    store = Store.create(str(tmp_path))
    tensor = np.zeros((1, 2, 3, 4, 1, 5, 12345), np.uint8)
    with ShardWriter(store.files, "long", "part-a", made, rows=3, metadata={}) as shard:
        for number in range(3):
            shard.add(key(number), "clip", made(**{name: tensor}))
        shard.commit()
    (path,) = (tmp_path / "artifacts/long").glob("part-a-*.safetensors")
    tensors = load_file(path)
    assert tensors[f"{key(2)}.{name}"].shape == tensor.shape
    read: Any = store.artifact("long", key(1))
    assert getattr(read, name).shape == tensor.shape, "a stage unknown to this version is read as plain rows"


def test_parquet_file_explains_itself(store: Store) -> None:
    put(store, "part-a", 1)
    metadata = store.files.read_metadata("artifacts/count/part-a.parquet")
    assert metadata["wanprep.stage"] == "count" and metadata["wanprep.spec"] == "{}"

"""Files that run code in whoever unpickles them lie in a store; nothing that wanprep does touches them off."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.makedirs, (str(self.mark),)


def everything(command: Callable[..., Any], store: Path) -> list[Any]:
    return [
        command("status", store),
        command("verify", store),
        command("sheet", store),
        command("status", store, "--watch"),
    ]


def bombs(mark: Path) -> dict[str, bytes]:
    """By suffix: a bare pickle, NumPy's object array, and a zip with a pickle in it as torch writes."""
    import zipfile

    plain = pickle.dumps(Bomb(mark))
    array = io.BytesIO()
    np.save(array, np.array([Bomb(mark)], dtype=object), allow_pickle=True)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", plain)
    return {".pkl": plain, ".npy": array.getvalue(), ".pt": archive.getvalue()}


def test_the_bombs_go_off_when_they_are_unpickled(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    found = bombs(mark)
    pickle.loads(found[".pkl"])
    assert mark.is_dir()
    mark.rmdir()
    np.load(io.BytesIO(found[".npy"]), allow_pickle=True)
    assert mark.is_dir()


def test_planted_beside_what_is_there_they_are_left_alone(
    store: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    mark = tmp_path / "mark"
    for suffix, data in bombs(mark).items():
        for folder in ("", "clips", "media", "outcomes", "recipes", "runs", "artifacts/flow"):
            (store / folder).mkdir(exist_ok=True)
            (store / folder / f"part-00{suffix}").write_bytes(data)
    assert [said.code for said in everything(command, store)] == [0, 0, 0, 0]
    assert not mark.exists()


@pytest.mark.parametrize("suffix", [".pkl", ".npy", ".pt"])
@pytest.mark.parametrize("place", ["clips", "outcomes", "artifacts/flow", "tensors", "runs", "store.json"])
def test_planted_in_the_place_of_a_store_s_own_file(
    store: Path, tmp_path: Path, command: Callable[..., Any], suffix: str, place: str
) -> None:
    mark = tmp_path / "mark"
    data = bombs(mark)[suffix]
    if place == "tensors":
        (shard,) = (store / "artifacts/flow").glob("*.safetensors")
        shard.write_bytes(data)
    elif place == "store.json":
        (store / place).write_bytes(data)
    else:
        (store / place).mkdir(exist_ok=True)
        (store / place / ("zz.json" if place == "runs" else "part-zz.parquet")).write_bytes(data)
    for said in everything(command, store):
        assert "Traceback" not in said.err
        assert said.code == 0 or said.err.startswith("wanprep: ") or "problem" in said.out
    assert command("verify", store).code == (0 if place == "runs" else 1)
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["arrow.py_extension_type", "pandas", "wanprep.record"])
def test_metadata_of_a_parquet_file_names_no_code(
    store: Path, tmp_path: Path, command: Callable[..., Any], kind: str
) -> None:
    mark = tmp_path / "mark"
    payload = pickle.dumps(Bomb(mark))
    (tmp_path / "evil_module.py").write_text(f"import os; os.makedirs({str(mark)!r})")
    for path in [*(store / "clips").iterdir(), *(store / "artifacts/flow").glob("*.parquet")]:
        table = pq.read_table(path)
        metadata = {
            b"wanprep.record": b"evil_module:Record",
            b"wanprep.stage": b"evil_module:Stage",
            b"pandas": json.dumps({"index_columns": [], "columns": [], "creator": "evil_module"}).encode(),
        }
        fields = list(table.schema)
        if kind == "arrow.py_extension_type":
            extension = {b"ARROW:extension:name": kind.encode(), b"ARROW:extension:metadata": payload}
            fields = [field.with_metadata(extension) for field in fields]
        pq.write_table(table.cast(pa.schema(fields, metadata=metadata)), path)
    for said in everything(command, store):
        assert "Traceback" not in said.err
        assert said.code == 0 or said.err.startswith("wanprep: ") or "problem" in said.out
    assert not mark.exists()


def test_a_bucket_s_cache_of_listings_is_no_way_in(
    store: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    """Some of fsspec's file systems load pickles and templates: media are not read through them."""
    manifest = tmp_path / "clips.jsonl"
    for address in (
        f"reference://{tmp_path}/a.json",
        f"filecache::file://{tmp_path}",
        "zip://a.mp4::http://h/x",
    ):
        manifest.write_text(json.dumps({"video": address}) + "\n")
        said = command("plan", manifest, "-s", tmp_path / "none", "-p", "motion")
        if "filecache" in address:  # no address by its looks: a path that is not there
            assert said.code == 0 and "does not exist" in said.out
        else:
            assert "are not read through" in said.refused
    shutil.rmtree(store)

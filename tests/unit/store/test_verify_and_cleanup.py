"""`verify` finds what is wrong with a store; cleaning up removes only what nobody will finish."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.stages import Count, CountRecord

import wanprep
from wanprep.store import Store
from wanprep.store.cleanup import remove_abandoned
from wanprep.store.shard import artifact_schema
from wanprep.store.verify import Report, verify

RECIPE = {"stages": {"flow": {}, "count": {"large": True}}}


@pytest.fixture
def made(tmp_path: Path, videos: Path, add_stages: Callable[..., None]) -> Path:
    add_stages(Count)
    summary = wanprep.run(videos, store=tmp_path / "store", recipe=RECIPE, engine="inline", workers=1)
    assert summary.failed == 0
    return tmp_path / "store"


def check(store: Path, *, digests: bool = True) -> Report:
    return verify(Store.open(str(store)), digests=digests)


def only(folder: Path, suffix: str) -> Path:
    found = sorted(folder.glob(f"*.{suffix}"))
    assert len(found) == 2
    return found[0]


def test_good_store_is_clean(made: Path) -> None:
    report = check(made)
    assert report.clean, report.problems
    assert report.artifacts == 4 and report.missing == 0 and not report.temporaries
    assert report.nbytes > 14 * 4096


def test_flipped_byte(made: Path) -> None:
    path = only(made / "artifacts/count", "safetensors")
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    (problem,) = check(made).problems
    assert path.stem in problem and "other bytes than were written" in problem
    assert check(made, digests=False).clean


def test_truncated_shard(made: Path) -> None:
    path = only(made / "artifacts/count", "safetensors")
    path.write_bytes(path.read_bytes()[:-2000])
    for digests in (True, False):
        (problem,) = check(made, digests=digests).problems
        assert path.stem in problem and "missing or damaged" in problem


def test_missing_shard(made: Path) -> None:
    path = only(made / "artifacts/count", "safetensors")
    path.unlink()
    (problem,) = check(made).problems
    assert path.stem in problem and "missing or damaged" in problem


def test_damaged_parquet(made: Path) -> None:
    path = only(made / "artifacts/flow", "parquet")
    path.write_bytes(path.read_bytes()[:200])
    report = check(made)
    assert any(path.name in problem and "cannot be read" in problem for problem in report.problems)
    assert report.missing == 1


def test_wrong_schema(made: Path) -> None:
    path = only(made / "artifacts/flow", "parquet")
    table = pq.read_table(path)
    pq.write_table(table.rename_columns([n.replace("cuts", "scenes") for n in table.column_names]), path)
    (problem,) = check(made).problems
    assert "another schema" in problem and "no column 'cuts'; unknown column 'scenes'" in problem


def test_file_of_someone_else(made: Path) -> None:
    """A Parquet file without keys in the folder of a plug-in's stage ended the check with a traceback."""
    pq.write_table(pa.table({"x": [1]}), made / "artifacts/count/part-zz.parquet")
    (problem,) = check(made).problems
    assert "no file of a store" in problem


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"file": "../../../etc/passwd"}, "plain name"),
        ({"file": None}, "neither inline nor in a shard"),
        ({"data": b"123"}, "neither inline nor in a shard"),
        ({"dtype": "object7"}, "missing or damaged"),
        ({"shape": None}, "has no shape"),
        ({"offset": 1 << 50}, "missing or damaged"),
        ({"nbytes": 5}, "missing or damaged"),
        ({"digest": "0" * 32}, "other bytes"),
    ],
    ids=str,
)
def test_rows_that_do_not_describe_their_tensor(made: Path, changed: dict[str, object], said: str) -> None:
    path = only(made / "artifacts/count", "parquet")
    (row,) = pq.read_table(path).to_pylist()
    assert row["large_TC"]["file"] is not None
    row["large_TC"] |= changed
    pq.write_table(pa.Table.from_pylist([row], schema=artifact_schema(CountRecord)), path)
    problems = check(made).problems
    assert any(said in problem for problem in problems), problems


def test_artifacts_that_were_never_made_are_counted(made: Path) -> None:
    only(made / "artifacts/flow", "parquet").unlink()
    report = check(made)
    assert report.missing == 1


def write_run(store: Path, run: str, *, pid: int, state: str = "running", host: str | None = None) -> None:
    about = {"host": host or socket.gethostname(), "pid": pid, "state": state}
    (store / "runs").mkdir(exist_ok=True)
    (store / f"runs/{run}.json").write_text(json.dumps(about))


def dead_process() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_only_files_of_dead_runs_are_removed(tmp_path: Path) -> None:
    store = Store.create(str(tmp_path / "s"), run="me")
    root = tmp_path / "s"
    dead = dead_process()
    write_run(root, "20260101T000000dead", pid=dead)
    write_run(root, "20260101T000000ende", pid=os.getpid(), state="stopped")
    write_run(root, "20260101T000000live", pid=os.getpid())
    write_run(root, "20260101T000000away", pid=dead, host="elsewhere")
    write_run(root, "20260101T000000huge", pid=1 << 70)
    (root / "runs/20260101T000000torn.json").write_text("{")
    (root / "artifacts/flow").mkdir(parents=True)
    left, gone = [], []
    for run, abandoned in {
        "dead": 1,
        "ende": 1,
        "live": 0,
        "away": 0,
        "huge": 0,
        "torn": 0,
        "none": 0,
    }.items():
        for name in (
            "artifacts/flow/.tmp-20260101T000000{}-part-1.parquet",
            ".tmp-20260101T000000{}-store.json",
        ):
            path = root / name.format(run)
            path.touch()
            (gone if abandoned else left).append(path)
    (root / "artifacts/flow/part-1.parquet").touch()
    assert remove_abandoned(store) == len(gone) == 4
    assert all(path.exists() for path in left) and not any(path.exists() for path in gone)
    assert (root / "artifacts/flow/part-1.parquet").exists()


def test_what_is_a_day_old_is_removed_whoever_made_it(tmp_path: Path) -> None:
    store = Store.create(str(tmp_path), run="me")
    old, new = tmp_path / ".tmp-x-part-1.parquet", tmp_path / ".tmp-y-part-1.parquet"
    for path in (old, new):
        path.touch()
    os.utime(old, (time.time() - 90_000,) * 2)
    assert remove_abandoned(store) == 1
    assert new.exists() and not old.exists()


def test_tensors_without_rows_are_left_while_a_run_is_alive_and_removed_afterwards(made: Path) -> None:
    """A run killed between the two steps of a commit left them for good; `verify` promised their removal."""
    old, young = (
        made / "artifacts/count/part-0-aa.safetensors",
        made / "artifacts/count/part-1-bb.safetensors",
    )
    for path in (old, young):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 90_000,) * 2)
    assert [os.path.basename(name) for name in check(made).temporaries] == [old.name, young.name]
    alive = made / "runs" / "alive.json"
    alive.parent.mkdir(exist_ok=True)
    about = {"host": socket.gethostname(), "pid": os.getpid(), "state": "running"}
    alive.write_text(json.dumps(about))
    store = Store.open(str(made))
    assert remove_abandoned(store) == 1
    assert young.exists() and not old.exists()
    alive.write_text(json.dumps({**about, "state": "finished"}))
    assert remove_abandoned(store) == 1
    assert not young.exists()
    assert check(made).clean

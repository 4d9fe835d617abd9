"""Compaction loses nothing: not when it is killed, not under a reader, not beside a run."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers.compare import contents
from helpers.stages import Count, CountRecord
from safetensors.numpy import load_file

import wanprep
from schemas import ClipRecord
from wanprep.errors import StoreError, UsageError
from wanprep.store import Store, layout
from wanprep.store.cleanup import remove_abandoned
from wanprep.store.compact import Compaction, compact
from wanprep.store.fs import StoreFiles
from wanprep.store.lock import COMPACTIONS, CompactionLock
from wanprep.store.retired import RETIRED, remove_due
from wanprep.store.shard import ShardWriter
from wanprep.store.verify import verify

KEYS = range(12)
SPEC = {"wanprep.schema": "1", "wanprep.spec": '{"version":1}', "wanprep.libraries": "{}"}


def key(number: int) -> str:
    return f"{number:032x}"


def record(number: int) -> CountRecord:
    return CountRecord(
        frames=number,
        sizes=[number, 2],
        levels_T=np.full(3, number, np.float32),
        large_TC=None if number % 5 == 4 else np.full((7, 5001), number, np.uint8),
    )


def put(store: Store, numbers: list[int], metadata: dict[str, str] = SPEC, name: str | None = None) -> None:
    named = name or layout.shard_name(map(key, numbers))
    with ShardWriter(
        store.files, "count", named, CountRecord, rows=len(numbers), metadata=metadata
    ) as writer:
        for number in numbers:
            writer.add(key(number), f"clip{number:02d}", record(number))
        writer.commit()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    store = Store.create(str(tmp_path / "store"), run="first")
    for start in KEYS[::3]:
        put(store, [start, start + 1, start + 2])
    return tmp_path / "store"


def shards(root: Path, suffix: str = "parquet") -> list[Path]:
    return sorted((root / "artifacts/count").glob(f"part-*.{suffix}"))


def keys_seen(root: Path) -> set[str]:
    return {str(k) for path in shards(root) for k in pq.read_table(path, columns=["key"])["key"].to_pylist()}


def merge(root: Path, grace: float = 0, **options: Any) -> Compaction:
    return compact(str(root), grace_seconds=grace, **options)


def test_many_small_shards_become_one_with_the_same_content(root: Path) -> None:
    before = contents(root)
    done = merge(root)
    assert (done.merged, done.made, done.files_before, done.files_after) == (4, 1, 8, 2)
    assert contents(root) == before and not done.problems
    (rows,), (tensors,) = shards(root), shards(root, "safetensors")
    assert rows.stem == layout.shard_name(map(key, KEYS)) and tensors.name.startswith(rows.stem)
    metadata = Store.open(str(root)).files.read_metadata(f"artifacts/count/{rows.name}")
    assert metadata == {"wanprep.stage": "count", **SPEC}
    np.testing.assert_array_equal(load_file(tensors)[f"{key(6)}.large_TC"], record(6).large_TC)
    assert verify(Store.open(str(root))).clean
    assert sorted(os.listdir(root)) == ["artifacts", "compactions", "retired", "store.json"]
    assert not os.listdir(root / COMPACTIONS) and not os.listdir(root / RETIRED)
    again = merge(root)
    assert (again.merged, again.files_after) == (0, 2)


def test_target_bounds_the_shards_and_nothing_is_merged_twice(tmp_path: Path) -> None:
    store = Store.create(str(tmp_path), run="first")
    for number in range(40):
        put(store, [number])
    before = contents(tmp_path)
    done = merge(tmp_path, target_bytes=1 << 20)
    sizes = [path.stat().st_size for path in shards(tmp_path, "safetensors")]
    assert len(sizes) == done.made == 2 and max(sizes) <= 1 << 20
    assert contents(tmp_path) == before
    assert merge(tmp_path, target_bytes=1 << 20).merged == 0


def test_dry_run_changes_nothing(root: Path) -> None:
    before = sorted(root.rglob("*"))
    done = merge(root, dry_run=True)
    assert (done.merged, done.made) == (4, 1) and done.nbytes > 10 * 35_000
    assert sorted(root.rglob("*")) == before


def test_shards_that_were_made_differently_are_not_merged(root: Path) -> None:
    store = Store.open(str(root), run="second")
    other = {**SPEC, "wanprep.spec": '{"version":2}'}
    put(store, [20], other)
    put(store, [21], other)
    put(store, [22], {**SPEC, "wanprep.libraries": '{"numpy":"9"}'})
    merge(root)
    found = {pq.read_table(path)["frames"].to_pylist()[0]: path for path in shards(root)}
    assert sorted(found) == [0, 20, 22]
    assert b'{"version":2}' in pq.read_schema(found[20]).metadata[b"wanprep.spec"]


def test_a_key_that_is_there_twice_is_kept_once(root: Path) -> None:
    put(Store.open(str(root), run="second"), [2, 30])
    merge(root)
    assert len(contents(root)) == len(KEYS) + 1, "contents() refuses a key that is there twice"


def test_merged_name_may_be_that_of_a_merged_shard(tmp_path: Path) -> None:
    """A task that failed for its second clip, and the run that tried again: together they are what it planned."""
    store = Store.create(str(tmp_path), run="first")
    put(store, [1], name=layout.shard_name([key(1), key(2)]))
    put(store, [2])
    before = contents(tmp_path)
    merge(tmp_path, grace=100)
    assert len(shards(tmp_path)) == 1 and len(shards(tmp_path, "safetensors")) == 3
    assert contents(tmp_path) == before
    age_notes(tmp_path)
    assert remove_abandoned(store) == 2
    assert contents(tmp_path) == before


@pytest.mark.parametrize("how", ["flipped", "short", "missing", "rows", "dtype"])
def test_damaged_shard_is_named_and_left_alone(root: Path, how: str) -> None:
    rows = next(path for path in shards(root) if key(3) in pq.read_table(path)["key"].to_pylist())
    (tensors,) = (path for path in shards(root, "safetensors") if path.name.startswith(rows.stem))
    if how == "flipped":
        data = bytearray(tensors.read_bytes())
        data[-100] ^= 1
        tensors.write_bytes(data)
    elif how == "short":
        tensors.write_bytes(tensors.read_bytes()[:-1000])
    elif how == "missing":
        tensors.unlink()
    elif how == "rows":
        rows.write_bytes(rows.read_bytes()[:99])
    else:
        table = pq.read_table(rows)
        found = table.to_pylist()
        found[0]["large_TC"]["dtype"] = "object7"
        pq.write_table(type(table).from_pylist(found, schema=table.schema), rows)
    left = {path.name: path.read_bytes() for path in (rows, tensors) if path.exists()}
    done = merge(root)
    assert done.problems and all(rows.name in problem for problem in done.problems)
    assert done.merged == 3 and len(shards(root)) == 2
    assert {name: (rows.parent / name).read_bytes() for name in left} == left
    store = Store.open(str(root))
    if how != "rows":
        assert store.artifact("count", key(10)).frames == 10


class Killed(BaseException):
    """Stands for the end of the process: no handler of errors takes it."""


def die_at(patch: pytest.MonkeyPatch, step: int) -> list[str]:
    """Lets the writes and removals before `step` happen, and kills at that one."""
    steps: list[str] = []
    for verb in ("_publish", "remove"):
        real = getattr(StoreFiles, verb)

        def counted(self: StoreFiles, *given: Any, verb: str = verb, real: Any = real) -> Any:
            if len(steps) == step:
                # The lock of a killed process stays, with a process that is gone.
                raise Killed
            steps.append(f"{verb} {given[-1]}")
            return real(self, *given)

        patch.setattr(StoreFiles, verb, counted)
    return steps


def test_killed_at_any_step_then_finished(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each change to the store in turn: all is still readable, and the next compaction ends the work."""
    import shutil

    before, wanted = contents(root), {key(number) for number in KEYS}
    for step in range(100):
        copy = tmp_path / f"copy{step}"
        shutil.copytree(root, copy)
        with monkeypatch.context() as patch:
            steps = die_at(patch, step)
            try:
                merge(copy)
                finished = True
            except Killed:
                finished = False
        assert keys_seen(copy) == wanted
        store = Store.open(str(copy), run="second")
        assert verify(store).clean
        if finished:
            break
        for lock in (copy / COMPACTIONS).glob("*.json"):
            lock.write_text(lock.read_text().replace(f'"pid": {os.getpid()}', f'"pid": {dead_process()}'))
        remove_abandoned(store)
        assert keys_seen(copy) == wanted and verify(store).clean
        merge(copy)
        assert contents(copy) == before
        assert len(shards(copy)) == len(shards(copy, "safetensors")) == 1
        assert not list(copy.rglob(".tmp-*")) and not os.listdir(copy / COMPACTIONS)
    assert len(steps) >= 12 and steps[1].startswith("_publish retired/") and steps[3].endswith(".parquet")


_DEAD: list[int] = []


def dead_process() -> int:
    if not _DEAD:
        child = subprocess.Popen([sys.executable, "-c", ""])
        child.wait()
        _DEAD.append(child.pid)
    return _DEAD[0]


def test_sigkill(root: Path) -> None:
    """A real process, killed between the commit of the merged shard and the removal of the old rows."""
    code = (
        "import os, signal, sys; from wanprep.store import compact, merge\n"
        "merge.remove_rows = lambda *given: os.kill(os.getpid(), signal.SIGKILL)\n"
        "compact.compact(sys.argv[1], grace_seconds=0)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(root)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(shards(root)) == 5 and len(os.listdir(root / COMPACTIONS)) == 1
    done = merge(root)
    assert done.merged == 4 and len(shards(root)) == len(shards(root, "safetensors")) == 1
    assert len(contents(root)) == len(KEYS)


def age_notes(root: Path) -> None:
    """Puts the end of the grace period of all retired files into the past."""
    for note in (root / RETIRED).glob("*.json"):
        note.write_text(f'{{"until_ns": 1,{note.read_text().partition(",")[2]}')


def test_reader_that_holds_old_rows(root: Path) -> None:
    """It reads on within the grace period from the old files, and afterwards from the new one."""
    readers = [Store.open(str(root)) for _ in range(3)]
    for reader in readers:
        assert reader.artifact("count", key(0)) is not None
    old = {number: readers[0].index("count").find(key(number)) for number in KEYS}
    seen = readers[0].artifact("count", key(1)).large_TC
    done = merge(root, grace=100)
    assert done.kept == 4 and done.files_after == 2
    assert len(shards(root, "safetensors")) == 5 and len(readers[0].unreferenced()) == 4
    assert not verify(Store.open(str(root))).temporaries, "they are known, and no leftovers"
    np.testing.assert_array_equal(readers[0].artifact("count", key(2)).large_TC, record(2).large_TC)
    assert remove_abandoned(Store.open(str(root))) == 0, "a run that begins leaves them alone too"
    age_notes(root)
    assert remove_abandoned(Store.open(str(root))) == 4
    for number in KEYS:
        found = readers[1].artifact("count", key(number))
        assert found.frames == number
        if found.large_TC is not None:
            np.testing.assert_array_equal(found.large_TC, record(number).large_TC)
        assert readers[2].artifact("count", key(number), old[number]).frames == number, (
            "as a run's tasks read"
        )
    np.testing.assert_array_equal(seen, record(1).large_TC)


def test_listing_made_before_and_read_after(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What vanishes between a listing and its reading is found in the next listing."""
    real, calls = StoreFiles.names, 0

    def names(self: StoreFiles, folder: str, suffix: str = "") -> list[str]:
        nonlocal calls
        found = real(self, folder, suffix)
        if folder == "artifacts/count":
            calls += 1
            if calls == 1:
                with monkeypatch.context() as patch:
                    patch.setattr(StoreFiles, "names", real)
                    merge(root)
        return found

    monkeypatch.setattr(StoreFiles, "names", names)
    rows = Store.open(str(root)).index("count").rows([key(number) for number in KEYS])
    assert calls > 1 and (rows >= 0).all()


def test_readers_while_shards_come_and_are_merged(root: Path) -> None:
    """Each look at the store finds every key that was committed before it; no read fails, with no grace at all."""
    committed, found, wrong = len(KEYS), 0, []
    stop = threading.Event()

    def read(held: Store) -> None:
        nonlocal found
        while not stop.is_set():
            there, fresh = committed, Store.open(str(root))
            for store in (fresh, held):
                for number in range(there if store is fresh else len(KEYS)):
                    try:
                        seen: Any = store.artifact("count", key(number))
                        large = seen.large_TC
                        if seen.frames != number or (large is not None and (large != number).any()):
                            wrong.append(f"{number} reads as {seen.frames}")
                    except Exception as error:
                        wrong.append(f"{number}: {error!r}")
                    found += 1

    threads = [threading.Thread(target=read, args=(Store.open(str(root)),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    writer, end = Store.open(str(root), run="second"), time.monotonic() + 1.0
    while time.monotonic() < end:
        for _ in range(3):
            put(writer, [committed])
            committed += 1
        merge(root)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]
    assert found > 50 and len(contents(root)) == committed


def test_bucket() -> None:
    address = "memory://compaction/store"
    store = Store.create(address, run="first")
    for start in KEYS[::3]:
        put(store, [start, start + 1, start + 2])
    reader = Store.open(address)
    assert reader.artifact("count", key(0)) is not None
    done = compact(address, grace_seconds=0)
    assert (done.merged, done.made, done.files_after) == (4, 1, 2)
    assert len(store.files.names("artifacts/count")) == 2 and not store.files.names(RETIRED)
    for number in KEYS:
        assert reader.artifact("count", key(number)).frames == number
    assert verify(Store.open(address)).clean


def test_part_that_may_not_be_removed_is_said_in_one_line(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = StoreFiles.remove

    def refuse(self: StoreFiles, name: str) -> None:
        if name.startswith("artifacts/"):
            raise PermissionError(13, "Permission denied")
        real(self, name)

    monkeypatch.setattr(StoreFiles, "remove", refuse)
    with pytest.raises(StoreError, match=r"cannot be removed \(Permission denied\)"):
        merge(root)
    assert keys_seen(root) == {key(number) for number in KEYS}
    monkeypatch.undo()
    assert merge(root).merged == 4 and len(shards(root)) == len(shards(root, "safetensors")) == 1


def test_two_at_once_are_refused(root: Path) -> None:
    with CompactionLock(StoreFiles(str(root), "other")):
        with pytest.raises(
            StoreError, match=rf"another compaction .*{socket.gethostname()}, process {os.getpid()}"
        ):
            merge(root)
        assert len(os.listdir(root / COMPACTIONS)) == 1, "the one that was there keeps its lock"
        merge(root, dry_run=True)
    assert merge(root).merged == 4


def test_lock_of_another_machine_counts_until_it_is_silent(root: Path) -> None:
    lock = root / COMPACTIONS / "far.json"
    lock.parent.mkdir()
    lock.write_text(f'{{"host": "far", "pid": 1, "beat_ns": {time.time_ns()}}}')
    with pytest.raises(StoreError, match="far, process 1"):
        merge(root)
    lock.write_text(f'{{"host": "far", "pid": 1, "beat_ns": {time.time_ns() - 2 * 3600 * 10**9}}}')
    assert merge(root).merged == 4 and not lock.exists()


def test_run_that_begins_leaves_a_compactions_tensors_alone(root: Path) -> None:
    """They have no rows yet, and no run is alive: they would have been taken for leftovers."""
    between = root / "artifacts/count/part-0123-aa.safetensors"
    between.write_bytes(b"x")
    with CompactionLock(StoreFiles(str(root), "other")):
        assert remove_abandoned(Store.open(str(root))) == 0
    assert remove_abandoned(Store.open(str(root))) == 1 and not between.exists()


def test_note_cannot_name_other_files(root: Path) -> None:
    (root / RETIRED).mkdir()
    for number, name in enumerate(
        ("store.json", "../x.safetensors", "clips/a/part.safetensors", "artifacts/count/..")
    ):
        (root / RETIRED / f"{number}.json").write_text(f'{{"until_ns": 1, "tensors": ["{name}"]}}')
    assert remove_due(StoreFiles(str(root))) == 0 and (root / "store.json").exists()


def test_rows_that_came_meanwhile_stay(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that runs a second time replaces its shard by a larger one while this is being merged."""
    from wanprep.store import merge as merging

    real = merging.check_whole

    def late(files: StoreFiles, shard: str) -> None:
        if not [n for n in keys_seen(root) if n == key(40)]:
            put(Store.open(str(root), run="late"), [0, 1, 2, 40], name=layout.shard_name(map(key, (0, 1, 2))))
        real(files, shard)

    monkeypatch.setattr(merging, "check_whole", late)
    merge(root)
    assert keys_seen(root) == {key(number) for number in (*KEYS, 40)}
    assert Store.open(str(root)).artifact("count", key(40)).frames == 40


def test_stages_are_chosen_by_name(root: Path) -> None:
    store = Store.open(str(root), run="second")
    for number in range(2):
        store.write_rows(
            layout.CLIPS, ClipRecord, [ClipRecord(clip_id=f"{number}", recipe="a")], [str(number)]
        )
    assert merge(root, stages=["count"]).merged == 4
    assert len(store.files.names(layout.CLIPS)) == 2
    with pytest.raises(UsageError, match=r"--stage cuont: .*did you mean 'count'"):
        merge(root, stages=["cuont"])
    with pytest.raises(UsageError, match="2048 MiB"):
        merge(root, target_bytes=1 << 40)


def test_full_disk_is_said_before_anything_is_done(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(root)
    monkeypatch.setattr(StoreFiles, "free_bytes", lambda self: 1000)
    with pytest.raises(StoreError, match=r"GB beside the old shards .* --grace 0"):
        merge(root)
    assert contents(root) == before and len(shards(root)) == 4


def test_run_goes_on_after_a_compaction(
    tmp_path: Path, videos: Path, add_stages: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is stale, and what is made next takes in what was moved."""
    from helpers.stages import Note
    from typer.testing import CliRunner

    from wanprep.cli import app

    add_stages(Count, Note)
    store = tmp_path / "store"
    alone = {"stages": {"count": {"large": True}}}
    for video in sorted(videos.iterdir()):
        wanprep.run(video, store=store, recipe=alone, engine="inline", workers=1)
    before = contents(store)
    said = CliRunner().invoke(app, ["compact", str(store), "--grace", "0"])
    assert said.exit_code == 0 and "shards merged into" in said.stdout and "files ->" in said.stdout
    assert contents(store) == before
    assert wanprep.run(videos, store=store, recipe=alone, engine="inline", workers=1).nothing_to_do
    both = {"stages": {"count": {"large": True}, "note": {}}}
    summary = wanprep.run(videos, store=store, recipe=both, engine="inline", workers=1)
    assert summary.stages["note"].done == len(before) and summary.stages["count"].already_done == len(before)

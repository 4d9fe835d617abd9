"""What a killed run leaves in a bucket: tensors that no row names. A later run removes them, and nothing else."""

from __future__ import annotations

import time

import pytest
from helpers.compare import contents
from s3.conftest import Server

import wanprep
from wanprep.store import layout
from wanprep.store.cleanup import remove_abandoned
from wanprep.store.store import Store
from wanprep.store.verify import verify

_DAY_NS = 86_400 * 10**9
_now_ns = time.time_ns


def run(inputs: str, store: str) -> wanprep.RunSummary:
    return wanprep.run(inputs, store=store, preset="motion", engine="inline")


def later(monkeypatch: pytest.MonkeyPatch, nanoseconds: int) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: _now_ns() + nanoseconds)


def test_tensors_without_rows_go_a_day_after_they_were_seen(
    server: Server, inputs: str, made: str, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(inputs, store)
    path = store.removeprefix("s3://")
    (rows, *_) = Store.open(store).files.names("artifacts/flow", ".parquet")
    # Of a task that was run again, and of one that never was.
    orphans = [
        f"{rows.removesuffix('.parquet')}-00000000.safetensors",
        f"artifacts/flow/{layout.shard_name(['x'])}-00000000.safetensors",
    ]
    for name in orphans:
        server.put(f"{path}/{name}", b"half a shard")
    assert verify(Store.open(store)).temporaries == sorted(orphans)

    for _ in range(2):
        assert run(inputs, store).nothing_to_do
        files = Store.open(store).files
        assert all(files.exists(name) for name in orphans), "someone may be about to write their rows"
        assert len(files.names("retired", ".json")) == 1, "noted once"
    assert verify(Store.open(store)).temporaries == [], "what is noted is taken care of"

    later(monkeypatch, _DAY_NS + 10**12)
    assert run(inputs, store).nothing_to_do
    files = Store.open(store).files
    assert not any(files.exists(name) for name in orphans)
    assert not files.names("retired", ".json")
    report = verify(Store.open(store))
    assert report.clean and not report.missing and not report.temporaries
    assert contents(store) == contents(made)


def test_tensors_whose_rows_came_late_stay(
    server: Server, inputs: str, made: str, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that seemed dead was slow."""
    run(inputs, store)
    opened = Store.open(store, run="first")
    (name, *_) = opened.files.names("artifacts/flow", ".parquet")
    data = opened.files.read_bytes(name)
    opened.files.remove(name)
    assert remove_abandoned(opened) == 0
    assert len(opened.files.names("retired", ".json")) == 1
    server.put(f"{store.removeprefix('s3://')}/{name}", data)
    later(monkeypatch, _DAY_NS + 10**12)
    assert remove_abandoned(Store.open(store, run="second")) == 0
    report = verify(Store.open(store))
    assert report.clean and not report.missing and not report.temporaries
    assert not Store.open(store).files.names("retired", ".json")
    assert contents(store) == contents(made)

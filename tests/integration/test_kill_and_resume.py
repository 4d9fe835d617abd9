"""A killed run goes on where it stopped, and ends with what an undisturbed run has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.compare import contents
from helpers.media import write_video

import wanprep
from wanprep.store.store import Store
from wanprep.store.verify import verify

_OPTIONS = ["--preset", "motion", "--engine", "inline"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(8):
        write_video(folder / f"{number}.mp4", 40, size=(160, 120), seed=number * 10)
    return folder


@pytest.fixture(scope="module")
def undisturbed(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("undisturbed") / "store"
    summary = wanprep.run(videos, store=store, preset="motion", engine="inline")
    assert all(stage.done == 8 for stage in summary.stages.values())
    return store


@pytest.mark.parametrize("shards_before_the_kill", [1, 3])
def test_killed_driver_resumes(
    videos: Path, undisturbed: Path, tmp_path: Path, shards_before_the_kill: int
) -> None:
    store = tmp_path / "store"
    command = [sys.executable, "-m", "wanprep", "run", str(videos), "--store", str(store), *_OPTIONS]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(store.glob("artifacts/flow/part-*.parquet"))) < shards_before_the_kill:
        assert process.poll() is None, "the run ended before it could be killed: make the clips longer"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = contents(store)
    assert 0 < len(before) < 16

    summary = wanprep.run(videos, store=store, preset="motion", engine="inline")

    after = contents(store)
    assert after.keys() == contents(undisturbed).keys()
    assert after == contents(undisturbed)
    assert sum(stage.done for stage in summary.stages.values()) == 16 - len(before)
    report = verify(Store.open(str(store)))
    assert report.clean
    assert not report.missing
    assert not report.temporaries
    again = wanprep.run(videos, store=store, preset="motion", engine="inline")
    assert again.nothing_to_do


def test_interrupt_keeps_what_is_committed(videos: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    command = [sys.executable, "-m", "wanprep", "run", str(videos), "--store", str(store), *_OPTIONS]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not list(store.glob("artifacts/flow/part-*.parquet")):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "stopped; the same command goes on from here"
    assert "Traceback" not in said
    assert contents(store)
    assert not verify(Store.open(str(store))).temporaries

"""SIGKILL among the processes of a Ray job: a worker, the raylet, the GCS, the driver."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from disturbed import check_one_line, finish, start
from verdict import rerun_and_compare

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]

_START_SECONDS = 120.0
_END_SECONDS = 30.0  # from the death of Ray's own process to the job's; measured: 1 to 3.5, on a busy machine
_OBITUARY_SECONDS = 30.0  # for workers to be told that their driver is gone; measured: 2 to 3


def _family(process: subprocess.Popen[str], name: str) -> list[psutil.Process]:
    """The job's living processes of that name."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                title = " ".join(child.cmdline()[:1])
                if title.rpartition("/")[2].startswith(name):
                    found.append(child)
    return found


def _until_shards(process: subprocess.Popen[str], store: Path, shards: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while len(list(store.glob("artifacts/flow/part-*.parquet"))) < shards:
        assert process.poll() is None, "the job ended before it could be disturbed"
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("seed", range(3))
def test_workers(
    videos: Path, undisturbed: Path, tmp_path: Path, judge: Callable[..., None], seed: int
) -> None:
    """The job goes on by itself and ends well."""
    chance = random.Random(seed)
    process = start(videos, tmp_path / "store", "--workers", "2", engine="ray", slow=0.4, seed=seed)
    _until_shards(process, tmp_path / "store", chance.randint(0, 2))
    killed = 0
    while killed < 2 and process.poll() is None:
        if workers := _family(process, "ray::MapWorker"):
            chance.choice(workers).kill()
            killed += 1
        time.sleep(chance.uniform(0.2, 1.0))
    code, said = finish(process)
    assert killed and code == 0, said
    verdict = rerun_and_compare(videos, tmp_path / "store", undisturbed)
    judge("ray worker killed", verdict, injected=killed)


@pytest.mark.parametrize(("name", "seed"), [("raylet", 0), ("raylet", 1), ("gcs_server", 0)])
def test_rays_own_processes(
    videos: Path, undisturbed: Path, tmp_path: Path, judge: Callable[..., None], name: str, seed: int
) -> None:
    """Without them a job of one machine cannot go on: it ends in one line, and the same command goes on from there."""
    process = start(videos, tmp_path / "store", "--workers", "2", engine="ray", slow=0.4, seed=seed)
    _until_shards(process, tmp_path / "store", 1 + seed)
    family = psutil.Process(process.pid).children(recursive=True)
    (victim,) = _family(process, name)
    killed = time.monotonic()
    victim.kill()
    code, said = finish(process)
    assert code == 1
    check_one_line(said, "process on this machine was killed or broke down")
    assert time.monotonic() - killed < _END_SECONDS
    _, alive = psutil.wait_procs(family, timeout=_OBITUARY_SECONDS)
    assert not alive, "the rest of Ray goes too"
    (run,) = (tmp_path / "store" / "runs").glob("*.json")
    assert json.loads(run.read_text())["state"] == "error"
    fault = "raylet killed" if name == "raylet" else "GCS of Ray killed"
    judge(fault, rerun_and_compare(videos, tmp_path / "store", undisturbed))


@pytest.mark.parametrize("seed", range(3))
def test_driver(
    videos: Path, undisturbed: Path, tmp_path: Path, judge: Callable[..., None], seed: int
) -> None:
    """The rerun starts at once, while the dead job's workers may still be at work."""
    store = tmp_path / "store"
    process = start(videos, store, "--workers", "2", engine="ray", slow=0.4, seed=seed)
    _until_shards(process, store, seed)
    if seed == 0:
        while not _family(process, "ray::MapWorker"):
            assert process.poll() is None
            time.sleep(0.01)
    workers = _family(process, "ray::MapWorker")
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = rerun_and_compare(videos, store, undisturbed)
    _, alive = psutil.wait_procs(workers, timeout=_OBITUARY_SECONDS)
    assert not alive, "workers outlive their driver"
    verdict = rerun_and_compare(videos, store, undisturbed)
    verdict.reruns += first.reruns
    judge("driver of a Ray job killed", verdict)

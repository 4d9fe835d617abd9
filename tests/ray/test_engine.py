"""Whole jobs on a cluster of two nodes: faults, and what is left of the job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from small_jobs import Ears, causes, prepare, rows, texts

from ray_jobs.guard import LedgerGuard
from ray_jobs.preprocess import _ledger, run
from ray_jobs.watchdog import Watchdog
from wanprep.errors import StoreError, UsageError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster(plugins: None) -> Iterator[Any]:
    """Two nodes on this machine, to which this process is connected before the engine is."""
    from ray.cluster_utils import Cluster

    small: dict[str, Any] = {"object_store_memory": 100 << 20, "include_dashboard": False}
    # Of the GPU nobody asks more than the accounting.
    both = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 1, **small})
    both.add_node(num_cpus=1, **small)
    ray.init(address=both.address, log_to_driver=False, logging_level="ERROR")
    yield both
    ray.shutdown()
    both.shutdown()


def test_every_fault_is_named_and_the_rest_is_done(tmp_path: Path) -> None:
    prompts = ["a", "segfault", "b", "hang", "c", "raise", "d", "wrong", "e"]
    job, tasks = prepare(tmp_path, prompts, {"test_moody": {}}, seconds_per_clip=2.0, seconds_per_frame=0.0)
    ears = Ears()
    run(job, tasks, ears)
    assert texts(job) == ["A", "B", "C", "D", "E"]
    found = {clip: cause for (clip, _), cause in causes(job).items()}
    assert set(found) == {"segfault", "hang", "raise", "wrong"}
    assert "crashed the worker twice" in found["segfault"]
    assert "ran longer than 2 s" in found["hang"]
    assert found["raise"] == "ValueError: no good"
    assert found["wrong"] == "the stage returned str, not WordRecord"
    assert (ears.total("done"), ears.total("failed")) == (5, 4)
    assert sorted(result.number for result in ears.results) == sorted(task.number for task in tasks)
    assert ray.is_initialized(), "the caller's Ray stays"


def test_a_clip_that_eats_memory_is_named(tmp_path: Path) -> None:
    """In a worker that may have 192 MiB more than it has at its start. The rest of it: test_memory.py."""
    job, tasks = prepare(tmp_path, ["a", "hungry", "b"], {"test_hungry": {"room": 192 << 20}})
    run(job, tasks, Ears())
    assert texts(job, "test_hungry") == ["A", "B"]
    assert causes(job) == {("hungry", "test_hungry"): "out of memory"}


def test_a_worker_killed_from_outside_costs_nothing(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    prompts = [f"clip {number}" for number in range(16)]
    job, tasks = prepare(tmp_path, prompts, {"test_moody": {"seconds": 0.2, "diary": str(diary)}})
    killed: list[int] = []

    def kill() -> None:
        while not diary.exists() or len(diary.read_text().splitlines()) < 5:
            time.sleep(0.05)
        killed.append(int(diary.read_text().splitlines()[-1].split()[0]))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    ears = Ears()
    run(job, tasks, ears)
    killer.join(timeout=10)
    pids = {int(line.split()[0]) for line in diary.read_text().splitlines()}
    assert killed and len(pids) >= 2, "another process has taken over"
    assert texts(job) == sorted(prompt.upper() for prompt in prompts), "each exactly once"
    assert causes(job) == {}
    assert (ears.total("done"), ears.total("failed")) == (16, 0)


def test_operators_follow_each_other_and_set_up_deaths_end_the_job(tmp_path: Path) -> None:
    stages = {"test_moody": {}, "test_after": {}, "test_doomed": {}}
    job, tasks = prepare(tmp_path, ["a", "b", "raise"], stages, workers=1)
    # The doomed one on its own in the middle: what comes after it must not need it, nor suffer from it.
    job.groups[:] = [["test_moody"], ["test_doomed"], ["test_after"]]
    ears = Ears()
    run(job, tasks, ears)
    assert texts(job) == ["A", "B"]
    assert texts(job, "test_after") == ["after A", "after B"]
    assert rows(job.store, "test_doomed") == []
    found = causes(job)
    for clip in ("a", "b", "raise"):
        cause = found.pop((clip, "test_doomed"))
        assert "died 2 times while it was being set up (test_doomed)" in cause
    assert found == {
        ("raise", "test_moody"): "ValueError: no good",
        ("raise", "test_after"): "needs test_moody, which failed for this clip",
    }
    assert len(ears.results) == 3 * len(tasks), "a result an operator and task"


def test_a_full_disk_stops_the_job_in_one_line_and_frees_the_workers(tmp_path: Path) -> None:
    job, tasks = prepare(tmp_path, ["a", "full disk", "b"], {"test_moody": {}}, workers=1)
    with pytest.raises(StoreError) as caught:
        run(job, tasks, Ears())
    assert "No space left on device" in str(caught.value)
    assert "\n" not in str(caught.value)
    deadline = time.monotonic() + 20
    while ray.available_resources().get("CPU") != 3 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert ray.available_resources()["CPU"] == 3


def test_what_no_machine_can_hold_is_refused(tmp_path: Path) -> None:
    job, tasks = prepare(tmp_path, ["a"], {"test_greedy": {}})
    with pytest.raises(UsageError, match="stage test_greedy wants 999 CPUs a worker"):
        run(job, tasks, Ears())


def test_frames_reach_the_listener_once(tmp_path: Path) -> None:
    job, tasks = prepare(tmp_path, ["a"], {"test_moody": {}})
    clip = tasks[0].clips[0].clip
    ears = Ears()
    with _ledger(ears) as (ledger, _):
        guard = LedgerGuard(job, ledger, Watchdog(), operator=0, task=0, refusal=None)
        for _ in range(6):
            assert guard.start(clip) is None
            guard.frames(8)
            time.sleep(0.4)
            guard.end(clip)
        told_meanwhile = ears.counted
        guard.close()
    assert 0 < told_meanwhile < 48
    assert ears.counted == 48


def test_the_command_runs_on_both_nodes_and_survives_the_loss_of_one(cluster: Any, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    manifest = tmp_path / "clips.csv"
    manifest.write_text("prompt,id\n" + "".join(f"clip {number},clip-{number}\n" for number in range(24)))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"stages": {"test_moody": {"seconds": 0.3, "diary": str(diary)}}}))
    command = [sys.executable, "-m", "ray_jobs.preprocess", str(manifest), "--store", str(tmp_path / "store")]
    command += ["--recipe", str(recipe), "--address", cluster.address, "--workers", "3"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(_writers(diary)) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(_writers(diary)) == 3, "a worker a CPU, on both nodes"
    cluster.remove_node(next(iter(cluster.worker_nodes)))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    stage = json.loads(out)["stages"]["test_moody"]
    assert (stage["done"], stage["failed"]) == (24, 0)
    assert sorted(row["text"] for row in rows(tmp_path / "store")) == sorted(f"CLIP {n}" for n in range(24))
    assert "raylet" not in err and "core_worker" not in err


def _writers(diary: Path) -> set[str]:
    return {line.split()[0] for line in diary.read_text().splitlines()} if diary.exists() else set()

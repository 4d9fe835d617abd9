"""Inputs in a bucket, the store in a bucket: all that a run on a disk does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from helpers.compare import contents
from helpers.media import write_video
from s3.conftest import Program, Server

import wanprep
from wanprep.store.store import Store
from wanprep.store.verify import verify

MOTION = ["--preset", "motion", "--engine", "inline"]


def run(inputs: str | list[str], store: str) -> wanprep.RunSummary:
    return wanprep.run(inputs, store=store, preset="motion", engine="inline")


def without_clip_ids(found: dict) -> list:
    """Contents by stage: addresses differ between disk and bucket, and so ids and keys do."""
    return sorted(
        repr([stage, sorted((k, v) for k, v in row.items() if k not in ("key", "clip_id"))])
        for (stage, _), row in found.items()
    )


def test_run_and_resume_in_a_bucket(
    server: Server,
    bucket: str,
    inputs: str,
    films: Path,
    store: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    first = run(inputs, store)
    assert {name: (stage.done, stage.failed) for name, stage in first.stages.items()} == {
        "flow": (2, 0),
        "quality": (2, 0),
    }
    assert not list((tmp_path / "scratch").iterdir())

    server.proxy.requests = []
    again = run(inputs, store)
    assert again.nothing_to_do
    assert not server.proxy.of("PUT", "/artifacts/")
    assert not server.proxy.of("GET", f"{bucket}/in/"), "known videos are not read again"

    # A file that a manifest names has the version that its folder's listing gives.
    rows = "".join(f'{{"video": "{inputs}/{number}.mp4"}}\n' for number in range(2))
    assert run(server.put(f"{bucket}/clips.jsonl", rows.encode()), store).nothing_to_do

    local = tmp_path / "store"
    run(str(films), str(local))
    assert without_clip_ids(contents(store)) == without_clip_ids(contents(local))
    report = verify(Store.open(store))
    assert report.clean and not report.missing and not report.temporaries
    assert report.tensors > 0


def test_what_changed_in_the_bucket_is_seen_by_the_same_process(
    server: Server, store: str, films: Path, tmp_path: Path
) -> None:
    """Listings that a client keeps would hide it."""
    bucket = server.make_bucket()
    server.put(f"{bucket}/in/0.mp4", (films / "0.mp4").read_bytes())
    assert run(f"s3://{bucket}/in", store).clips_to_do == 1
    changed = write_video(tmp_path / "new.mp4", 9, size=(96, 64), seed=99).read_bytes()
    server.put(f"{bucket}/in/0.mp4", changed)
    server.put(f"{bucket}/in/more.mp4", changed)
    assert run(f"s3://{bucket}/in", store).clips_to_do == 2
    assert run(f"s3://{bucket}/in", store).nothing_to_do


def test_a_store_in_a_bucket_on_the_command_line(
    program: Program, made: str, inputs: str, tmp_path: Path
) -> None:
    done = program("run", inputs, "-s", made, *MOTION)
    assert done.returncode == 0 and f"store: {made}" in done.stdout, done.stderr
    status = program("status", made, "--json")
    assert json.loads(status.stdout)["stages"]["flow"]["done"] == 2
    plan = program("plan", inputs, "-s", made, "--preset", "motion", "--set", "flow.short_side=48", "--json")
    assert json.loads(plan.stdout)["stages"]["flow"]["to_do"] == 2, plan.stderr
    checked = program("verify", made)
    assert checked.returncode == 0 and checked.stdout.splitlines()[-1] == "clean"
    sheet = program("sheet", made, "-o", "sheet.png", "--rows", "2")
    assert sheet.returncode == 0, sheet.stderr
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.chaos
def test_a_process_of_its_own_is_quiet(inputs: str, store: str) -> None:
    """Clients that are not closed complain when the interpreter ends."""
    arguments = ["run", inputs, "-s", store, *MOTION]
    done = subprocess.run([sys.executable, "-m", "wanprep", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for noise in ("Traceback", "Unclosed", "Exception", "Warning"):
        assert noise not in done.stderr


@pytest.mark.chaos
@pytest.mark.parametrize(
    "killed_at",
    [
        "/artifacts/quality/part-",
        ".safetensors",
        "/store.json",
        "/recipes/",
        "/media/part-",
        "/clips/part-",
        "/artifacts/flow/part-",
        "/runs/",
    ],
)
@pytest.mark.parametrize("arrives", [False, True])
def test_killed_driver_resumes(
    server: Server, made: str, inputs: str, store: str, tmp_path: Path, killed_at: str, arrives: bool
) -> None:
    """Killed in the middle of a write, the driver leaves nothing half written, neither there nor here."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    killed: list[int] = []

    def kill(method: str, path: str) -> str | None:
        if method == "PUT" and killed_at in path and not killed:
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)
            return None if arrives else "reset"
        return None

    with server.proxy.breaking(kill):
        process = subprocess.Popen(
            [sys.executable, "-m", "wanprep", "run", inputs, "--store", store, *MOTION],
            env={**os.environ, "TMPDIR": str(scratch)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        process.wait(timeout=60)
    assert killed and process.returncode == -signal.SIGKILL
    assert not [path for path in scratch.iterdir() if path.is_file()]

    summary = run(inputs, store)

    assert contents(store) == contents(made)
    assert sum(stage.done for stage in summary.stages.values()) > 0
    report = verify(Store.open(store))
    assert report.clean, report.problems
    assert not report.missing
    assert run(inputs, store).nothing_to_do

"""A run tells of itself while it goes on, and another terminal can watch it."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.media import write_video
from helpers.stages import Count, broken, skipping
from rich.console import Console

import wanprep
from wanprep.errors import MediaError, StoreError, UsageError
from wanprep.media.window import Window
from wanprep.store.store import Store
from wanprep.summary import RunSummary
from wanprep.telemetry import observer
from wanprep.telemetry.watch import newest_run, progress_line, watch

RECIPE = {"stages": {"count": {}}}


class Gate:
    """Holds a stage up until the test has looked."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def stage(self, after: int) -> type[Count]:
        gate = self

        class Held(Count):
            def begin(self, context: Any, inputs: Any) -> Any:
                fold = super().begin(context, inputs)
                add = fold.add

                class Fold:
                    def add(self, window: Window) -> None:
                        add(window)
                        if context.clip.clip_id.startswith("b") and window.start >= after:
                            gate.reached.set()
                            assert gate.opened.wait(30)

                    def finish(self, inputs: Any) -> Any:
                        return fold.finish(inputs)

                return Fold()

        return Held


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        write_video(tmp_path / f"in/{name}.mp4", 40, seed=ord(name))
    return tmp_path


def start(folder: Path, **options: Any) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []

    def call() -> None:
        results.append(
            wanprep.run(folder / "in", store=folder / "store", recipe=RECIPE, engine="inline", **options)
        )

    thread = threading.Thread(target=call)
    thread.start()
    return thread, results


def eventually(look: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.02)
    pytest.fail("it did not come about in time")


def test_the_run_file_and_the_metrics_move_while_it_goes_on(
    folder: Path, add_stages: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observer, "METRICS_SECONDS", 0.05)
    monkeypatch.setattr(observer, "RUN_FILE_SECONDS", 0.55)
    gate = Gate()
    add_stages(gate.stage(after=0))
    metrics = folder / "m.prom"
    thread, results = start(folder, metrics_file=metrics)
    try:
        assert gate.reached.wait(30)
        run = eventually(lambda: live(folder, lambda run: run.passes_ended == 1 and run.frames_read >= 40))
        assert (run.state, run.passes_total, run.frames_total) == ("running", 2, 80)
        assert 40 <= run.frames_read < 80 and run.rate > 0 and (run.seconds_left or 0) > 0
        assert run.stages["count"].done == 1 and run.pid == os.getpid()
        assert "1 of 2 clips" in progress_line(run) and "left" in progress_line(run)
        eventually(lambda: 'wanprep_clips_total{stage="count",outcome="done"} 1.0' in metrics.read_text())
        assert "wanprep_run_active 1.0" in metrics.read_text()
        before = run.updated_ns
        assert eventually(lambda: live(folder, lambda run: run.updated_ns > before))

        out = io.StringIO()
        naps: list[float] = []

        def nap(seconds: float) -> None:
            naps.append(seconds)
            gate.opened.set()
            thread.join(30)

        ended = watch(Store.open(str(folder / "store")), Console(file=out, width=120), nap)
    finally:
        gate.opened.set()
        thread.join(30)
    assert ended is not None and ended.state == "finished" and naps == [2.0]
    first, *rest = out.getvalue().splitlines()
    assert first.startswith("1 of 2 clips, ") and "frames/s" in first
    assert "finished" in rest[0] and rest[1].startswith("2 of 2 clips, 100 % of the frames")
    assert results[0].stages["count"].done == 2
    assert "wanprep_run_active 0.0" in metrics.read_text()
    assert 'wanprep_frames_total{stage="count",outcome="done"} 80.0' in metrics.read_text()


def live(folder: Path, good: Callable[[RunSummary], bool]) -> RunSummary | None:
    found = newest_run(Store.open(str(folder / "store")))
    return found[1] if found and good(found[1]) else None


def test_a_live_picture_on_a_terminal(folder: Path, add_stages: Callable[..., None]) -> None:
    gate = Gate()
    add_stages(gate.stage(after=0))
    thread, _ = start(folder)
    try:
        assert gate.reached.wait(30)

        def nap(seconds: float) -> None:
            gate.opened.set()
            thread.join(30)

        out = io.StringIO()
        watch(Store.open(str(folder / "store")), Console(file=out, width=120, force_terminal=True), nap)
    finally:
        gate.opened.set()
        thread.join(30)
    assert "running" in out.getvalue() and "finished" in out.getvalue()


def test_what_fails_is_counted_logged_and_shown(folder: Path, add_stages: Callable[..., None]) -> None:
    add_stages(broken(MediaError("spoiled [red]\x1b[2J")))
    (folder / "in/bad.mp4").write_text("no video")
    log, metrics = folder / "log.jsonl", folder / "m.prom"
    summary = wanprep.run(
        folder / "in",
        store=folder / "store",
        recipe=RECIPE,
        engine="inline",
        metrics_file=metrics,
        log_file=log,
    )
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events][:2] == ["run_start", "failed"]
    assert events[-1]["event"] == "run_end" and events[-1]["state"] == "finished"
    failed = {(event["clip"][0], event["stage"]) for event in events if event["event"] == "failed"}
    assert failed == {("a", "count"), ("b", "count"), ("b", "clip")}
    assert {event["run"] for event in events} == {summary.run}
    assert sum(event["event"] == "task_start" for event in events) == 2
    assert 'wanprep_clips_total{stage="count",outcome="failed"} 2.0' in metrics.read_text()
    assert 'wanprep_frames_total{stage="count",outcome="failed"} 80.0' in metrics.read_text()
    out = io.StringIO()
    watch(Store.open(str(folder / "store")), Console(file=out, width=200))
    assert "no run goes on" in out.getvalue() and "last failures" in out.getvalue()
    assert r"spoiled [red]\x1b[2J" in out.getvalue() and "\x1b" not in out.getvalue()


def test_skips_are_logged_with_reason_and_value(folder: Path, add_stages: Callable[..., None]) -> None:
    add_stages(skipping("nothing to see", 0.25))
    log = folder / "log.jsonl"
    wanprep.run(folder / "in", store=folder / "store", recipe=RECIPE, engine="inline", log_file=log)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    skipped = [event for event in events if event["event"] == "skipped"]
    assert [(event["cause"], event["value"], event["level"]) for event in skipped] == [
        ("nothing to see", 0.25, "INFO")
    ] * 2


def test_an_error_of_the_store_ends_in_log_and_run_file(
    folder: Path, add_stages: Callable[..., None]
) -> None:
    add_stages(broken(StoreError("the disk is full")))
    log, metrics = folder / "log.jsonl", folder / "m.prom"
    with pytest.raises(StoreError, match="disk is full"):
        wanprep.run(
            *(folder / "in",),
            store=folder / "store",
            recipe=RECIPE,
            engine="inline",
            log_file=log,
            metrics_file=metrics,
        )
    end = json.loads(log.read_text().splitlines()[-1])
    assert (end["event"], end["level"], end["state"], end["cause"]) == (
        *("run_end", "ERROR", "error"),
        "the disk is full",
    )
    found = newest_run(Store.open(str(folder / "store")))
    assert found is not None and found[1].state == "error"
    assert "wanprep_run_active 0.0" in metrics.read_text()
    assert not [thread for thread in threading.enumerate() if thread.name == "telemetry"]


@pytest.mark.parametrize("option", ["metrics_file", "log_file"])
def test_a_place_that_cannot_be_written_is_said_before_the_work(
    folder: Path, add_stages: Callable[..., None], option: str
) -> None:
    add_stages(Count)
    with pytest.raises(UsageError, match="cannot be written"):
        start_options: dict[str, Any] = {option: folder / "none/file"}
        wanprep.run(folder / "in", store=folder / "store", recipe=RECIPE, engine="inline", **start_options)
    assert not (folder / "store/artifacts").exists()


def fake(store: Path, name: str, **fields: Any) -> None:
    known = {"run": name, "store": "s", "engine": "ray", "workers": 2, "host": socket.gethostname(), "pid": 1}
    run = RunSummary.model_validate({**known, "updated_ns": time.time_ns(), **fields})
    (store / "runs").mkdir(exist_ok=True)
    (store / f"runs/{name}.json").write_text(json.dumps(run.to_json()))


def test_runs_that_ended_without_a_word(tmp_path: Path) -> None:
    store = Store.create(str(tmp_path / "store"))
    out = io.StringIO()
    console = Console(file=out, width=200)
    assert watch(store, console) is None and "no run has worked" in out.getvalue()
    process = subprocess.Popen(["true"])
    process.wait()
    fake(tmp_path / "store", "20260101", pid=process.pid)
    assert watch(store, console, lambda _: pytest.fail("it waits for a dead run")) is not None
    assert "ended without a word" in out.getvalue()


def test_the_newest_run_that_goes_on_is_watched(tmp_path: Path) -> None:
    store = Store.create(str(tmp_path / "store"))
    fake(tmp_path / "store", "1", state="running", pid=os.getpid())
    fake(tmp_path / "store", "2", state="finished")
    found = newest_run(store)
    assert found is not None and found[1].run == "1"
    fake(tmp_path / "store", "3", state="running", host="elsewhere", pid=1, updated_ns=1)

    def nap(seconds: float) -> None:
        fake(tmp_path / "store", "3", state="stopped", host="elsewhere")

    out = io.StringIO()
    ended = watch(store, Console(file=out, width=200, force_terminal=True), nap)
    assert ended is not None and (ended.run, ended.state) == ("3", "stopped")
    assert "running, but silent for" in out.getvalue()


@pytest.mark.parametrize("text", ["{}", "[1]", '{"run": 1}', "no json"])
def test_run_files_that_are_damaged_are_said_in_one_line(tmp_path: Path, text: str) -> None:
    store = Store.create(str(tmp_path / "store"))
    (tmp_path / "store/runs").mkdir()
    (tmp_path / "store/runs/1.json").write_text(text)
    with pytest.raises(StoreError) as caught:
        watch(store, Console(file=io.StringIO()))
    assert "1.json" in str(caught.value) and "\n" not in str(caught.value)

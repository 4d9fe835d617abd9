"""Events as JSON lines, without secrets."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from schemas import OutcomeRecord
from wanprep.engine.job import TaskResult
from wanprep.errors import UsageError
from wanprep.summary import RunSummary, StageSummary
from wanprep.telemetry.log import LOGGER, RunLog, redacted

NS = 10**9


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def outcome(**fields: Any) -> OutcomeRecord:
    known = {
        "key": "k",
        "stage": "flow",
        "clip_id": "c",
        "outcome": "failed",
        "created_ns": 1_700_000_000 * NS,
    }
    return OutcomeRecord(**{**known, **fields})


def test_a_task_and_what_it_did_not_do(tmp_path: Path) -> None:
    result = TaskResult(
        number=7,
        clips=3,
        done={"flow": 1},
        skipped={"audio": 1},
        failed={"flow": 1},
        failures=[outcome(cause="damaged: x\ny", traceback="secret")],
        skips=[outcome(stage="audio", outcome="skipped", reason="no sound", value=0.5)],
        started_ns=1_700_000_000 * NS,
        ended_ns=1_700_000_002 * NS,
    )
    path = tmp_path / "log.jsonl"
    log = RunLog("r1")
    with log.to_file(path):
        log.task(result)
    start, skipped, failed, end = lines(path)
    assert {name: start[name] for name in ("event", "time", "level", "run", "task", "stages")} == {
        "event": "task_start",
        "time": "2023-11-14T22:13:20.000Z",
        "level": "INFO",
        "run": "r1",
        "task": 7,
        "stages": ["audio", "flow"],
    }
    assert (skipped["event"], skipped["stage"], skipped["cause"], skipped["value"]) == (
        *("skipped", "audio", "no sound"),
        0.5,
    )
    assert (failed["event"], failed["level"], failed["clip"], failed["cause"]) == (
        *("failed", "WARNING", "c"),
        "damaged: x\ny",
    )
    assert (end["event"], end["time"], end["seconds"]) == ("task_end", "2023-11-14T22:13:22.000Z", 2.0)
    assert (end["done"], end["skipped"], end["failed"]) == (1, 1, 1)
    assert "secret" not in path.read_text()


def test_addresses_lose_what_opens_them(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = RunLog("r1")
    summary = RunSummary(
        run="r1",
        store="s3://key:pass@host/b?token=abc",
        engine="ray",
        workers=1,
        stages={"flow": StageSummary()},
    )
    with log.to_file(path):
        log.begin(summary)
        log.not_done(
            outcome(cause="GET https://h/v.mp4?X-Amz-Signature=abc123 gave 'https://u:hunter2@h/x#frag'")
        )
        log.end(summary, OSError("https://token@h/"))
    text = path.read_text()
    for secret in ("pass", "token", "abc", "hunter2", "Signature", "frag"):
        assert secret not in text
    assert lines(path)[1]["cause"] == "GET https://h/v.mp4?... gave 'https://h/x?...'"


@pytest.mark.parametrize("text", ["s3://b/k", "no address? at all #1", "a@b", "/p/q@r?x"])
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


def test_no_name_breaks_a_line_or_acts_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.jsonl"
    log = RunLog("r1")
    monkeypatch.setattr(log._logger, "propagate", False)  # pytest-xdist cannot pass such a text on
    with log.to_file(path):
        log.not_done(outcome(clip_id='\x1b[2J"\n\u2028', cause="\udcff"))
    assert path.read_bytes().count(b"\n") == 1 and b"\x1b" not in path.read_bytes()
    assert lines(path)[0]["clip"] == '\x1b[2J"\n\u2028'


def test_runs_side_by_side_write_into_their_own_files_and_append(tmp_path: Path) -> None:
    one, two = RunLog("one"), RunLog("two")
    with one.to_file(tmp_path / "1"), two.to_file(tmp_path / "2"):
        one.not_done(outcome())
        two.not_done(outcome())
    with one.to_file(tmp_path / "1"):
        one.not_done(outcome(clip_id="again"))
    one.not_done(outcome(clip_id="after the file was closed"))
    assert [(line["run"], line["clip"]) for line in lines(tmp_path / "1")] == [("one", "c"), ("one", "again")]
    assert [line["run"] for line in lines(tmp_path / "2")] == ["two"]
    assert logging.getLogger(LOGGER).handlers == []


def test_a_program_s_own_logging_hears_the_events(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger=LOGGER):
        RunLog("r1").not_done(outcome(cause="x"))
    assert caplog.messages == ["run=r1 clip=c stage=flow event=failed cause=x"]


def test_nothing_reaches_stderr_when_nobody_listens(capfd: pytest.CaptureFixture[str]) -> None:
    # pytest listens at the root: without it, Python would print warnings by its handler of last resort.
    logger = logging.getLogger("wanprep")
    propagates, logger.propagate = logger.propagate, False
    try:
        RunLog("r1").not_done(outcome(cause="x"))
    finally:
        logger.propagate = propagates
    assert capfd.readouterr() == ("", "")


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"--log-file .*: cannot be written"),
        RunLog("r").to_file(tmp_path / "none/log"),
    ):
        pytest.fail("it was opened")


def test_warnings_about_what_is_done_come_through_a_workers_answer(tmp_path: Path) -> None:
    given = TaskResult(number=1, clips=1, done={"skeleton": 1}, warnings=[("c", "skeleton", "two people")])
    result = TaskResult.from_document(json.loads(json.dumps(given.to_document())))
    assert result == given
    log = RunLog("r1")
    with log.to_file(tmp_path / "log.jsonl"):
        log.task(result)
    _, warning, _ = lines(tmp_path / "log.jsonl")
    assert (warning["event"], warning["level"], warning["stage"]) == ("warning", "WARNING", "skeleton")
    summary = RunSummary(run="r", store="s", engine="inline", workers=1, stages={"skeleton": StageSummary()})
    for _ in range(150):
        summary.add(result)
    assert (summary.warnings_total, len(summary.warnings)) == (150, 100)
    assert summary.to_json()["warnings"][0] == {"clip_id": "c", "stage": "skeleton", "warning": "two people"}

"""A server that fails, hangs up, waits or refuses: tries with a bound, then one line that says what to do."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import fsspec
import pytest
from helpers.compare import contents
from s3.conftest import Program, Server
from s3.proxy import Fault, now_and_then
from s3fs import S3FileSystem

import wanprep
from wanprep.errors import StoreError
from wanprep.store.store import Store
from wanprep.store.verify import verify

MOTION = ["--preset", "motion", "--engine", "inline"]
FAILS: dict[str, Any] = {
    "500": (500, "InternalError", "We encountered an internal error. Please try again."),
    "503": (503, "SlowDown", "Please reduce your request rate."),
    "reset": "reset",
    "slow": 1.0,
}


def run(inputs: str, store: str) -> wanprep.RunSummary:
    return wanprep.run(inputs, store=store, preset="motion", engine="inline")


def always(what: Any, part: str = "", method: str = "") -> Fault:
    return lambda m, path: what if part in path and method in m else None


def the_line(done: Any) -> str:
    """The only line on stderr that is no progress."""
    assert done.returncode == 1, (done.stdout, done.stderr)
    (line,) = [text for text in done.stderr.splitlines() if not text.startswith(("scan:", "running:"))]
    assert line.startswith("wanprep: ")
    return line


@pytest.mark.parametrize(
    ("seed", "share"),
    [(1, 0.1), *(pytest.param(seed, 0.2, marks=pytest.mark.chaos) for seed in range(2, 6))],
)
def test_a_run_gets_through_faults_that_pass(
    server: Server,
    made: str,
    inputs: str,
    store: str,
    seed: int,
    share: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "8")
    S3FileSystem.clear_instance_cache()
    with server.proxy.breaking(now_and_then(seed, share)) as requests:
        summary = run(inputs, store)
        assert all((stage.done, stage.failed) == (2, 0) for stage in summary.stages.values())
        found = contents(store)
    assert any(request.status in (0, 500, 503) for request in requests)
    assert found == contents(made) == contents(store)
    report = verify(Store.open(store))
    assert report.clean and not report.missing


@pytest.mark.parametrize(
    "what",
    [
        "reset",
        pytest.param("slow", marks=pytest.mark.chaos),
        pytest.param("500", marks=pytest.mark.chaos),
        pytest.param("503", marks=pytest.mark.chaos),
    ],
)
def test_a_server_that_always_fails_is_one_line_after_a_bounded_time(
    server: Server, store: str, program: Program, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        fsspec.config.conf, "s3", {"config_kwargs": {"read_timeout": 0.3, "connect_timeout": 0.5}}
    )
    started = time.monotonic()
    with server.proxy.breaking(always(FAILS[what])):
        line = the_line(program("status", store, AWS_MAX_ATTEMPTS="2"))
    assert store in line and "run the same command again" in line
    assert 2 <= server.proxy.begun <= 8
    assert time.monotonic() - started < 20


def test_nobody_listens(store: str, program: Program) -> None:
    line = the_line(program("status", store, AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_MAX_ATTEMPTS="1"))
    assert "the connection failed" in line and "check AWS_ENDPOINT_URL" in line


@pytest.mark.parametrize(
    "part",
    [
        ".safetensors",
        *(
            pytest.param(part, marks=pytest.mark.chaos)
            for part in ("/artifacts/quality/part-", "/clips/part-", "/store.json")
        ),
    ],
)
def test_a_write_that_fails_stops_the_run_with_nothing_half_written(
    server: Server, inputs: str, store: str, program: Program, part: str
) -> None:
    with server.proxy.breaking(always(FAILS["500"], part, "PUT")) as requests:
        line = the_line(program("run", inputs, "-s", store, *MOTION, AWS_MAX_ATTEMPTS="2"))
    assert store in line and "cannot be written: the server failed" in line
    assert len([request for request in requests if request.method == "PUT" and part in request.path]) == 2
    if part != "/store.json":
        report = verify(Store.open(store))
        assert report.clean
        assert {stage for stage, _ in contents(store)} <= {"flow"}
    assert all(stage.failed == 0 for stage in run(inputs, store).stages.values())
    assert not verify(Store.open(store)).missing


def test_a_read_that_fails_while_a_store_is_looked_at(
    server: Server, inputs: str, made: str, program: Program
) -> None:
    for part, command in (
        ("/clips/part-", ["status", made]),
        ("list-type=2", ["status", made]),
        ("/clips/part-", ["plan", inputs, "-s", made]),
        (".safetensors", ["sheet", made]),
        ("outcomes%2F", ["verify", made]),
    ):
        with server.proxy.breaking(always("reset", part, "GET")):
            line = the_line(program(*command, AWS_MAX_ATTEMPTS="1"))
        assert made in line and "run the same command again" in line, command


@pytest.mark.chaos
def test_verify_tells_unreadable_from_damaged(
    server: Server, inputs: str, made: str, program: Program
) -> None:
    with server.proxy.breaking(always(FAILS["500"], ".safetensors", "GET")):
        done = program("verify", made, AWS_MAX_ATTEMPTS="1")
    assert done.returncode == 1
    assert "the server failed" in done.stdout and "other bytes" not in done.stdout


def test_an_input_that_cannot_be_read_fails_alone(server: Server, inputs: str, store: str) -> None:
    refused = always((403, "AccessDenied", "Access Denied"), "/in/1.mp4")
    with server.proxy.breaking(refused):
        summary = run(inputs, store)
    ((failure),) = summary.failures
    assert "access is denied" in (failure.cause or "") and "\n" not in (failure.cause or "")
    assert [stage.done for stage in summary.stages.values()] == [1, 1]
    # It is looked at again each time, and made once it can be read.
    assert [stage.done for stage in run(inputs, store).stages.values()] == [1, 1]


@pytest.mark.chaos
def test_an_input_that_fails_while_it_is_decoded(
    server: Server, inputs: str, store: str, monkeypatch: Any
) -> None:
    """The clip fails with the cause; the others go on, and --retry-failed makes it."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    S3FileSystem.clear_instance_cache()
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 2)

    def run_breaking(method: str, path: str) -> Any:
        # The scan has read it by the time that clips are written down.
        begun = any(r.method == "PUT" and "/clips/part-" in r.path for r in server.proxy.requests)
        return "reset" if begun and "/in/1.mp4" in path else None

    with server.proxy.breaking(run_breaking):
        summary = run(inputs, store)
    assert [(stage.done, stage.failed) for stage in summary.stages.values()] == [(1, 1), (1, 1)]
    assert all("the connection failed" in (failure.cause or "") for failure in summary.failures)
    again = wanprep.run(inputs, store=store, preset="motion", engine="inline", retry_failed=True)
    assert [stage.done for stage in again.stages.values()] == [1, 1]


@pytest.mark.parametrize("command", ["status", "run"])
def test_a_bucket_that_is_not_there(inputs: str, program: Program, command: str) -> None:
    arguments = ["run", inputs, "-s", "s3://no-such-bucket/store", *MOTION]
    line = the_line(program(*(arguments if command == "run" else ["status", arguments[3]])))
    assert "s3://no-such-bucket/store" in line
    assert "the bucket is not there" in line if command == "run" else "is no wanprep store" in line


def test_no_credentials(store: str, program: Program) -> None:
    nothing = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"))
    line = the_line(program("status", store, **nothing))
    assert "no credentials were found; set AWS_PROFILE" in line


def test_wrong_credentials(server: Server, inputs: str, store: str, program: Program) -> None:
    server.check_credentials(True)
    try:
        for arguments in (["status", store], ["run", inputs, "-s", store]):
            done = program(*arguments)
            assert done.returncode in (1, 2)
            (line,) = done.stderr.splitlines()
            assert line.startswith("wanprep: ") and "s3://bucket" in line
            assert "access is denied" in line or "cannot be listed" in line
    finally:
        server.check_credentials(False)


@pytest.mark.chaos
def test_rights_to_read_but_not_to_write(server: Server, inputs: str, made: str, program: Program) -> None:
    denied = always((403, "AccessDenied", "Access Denied"), "/made/", "PUT")
    with server.proxy.breaking(denied):
        assert program("plan", inputs, "-s", made, "--preset", "motion").returncode == 0
        assert program("status", made).returncode == 0
        line = the_line(program("run", inputs, "-s", made, *MOTION, "--set", "flow.short_side=48"))
    assert "access is denied" in line and "their rights to this bucket" in line


def test_the_disk_for_parts_is_full(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's address alone would send people to the wrong place."""
    store = Store.create(store)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(StoreError, match=r"by way of .*nowhere"):
        store.files.write_bytes("runs/a.json", b"{}")

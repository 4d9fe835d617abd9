"""The command line: exit codes, JSON for scripts, one line for what is wrong."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from helpers.media import write_video

from wanprep.cli import main

FLOW = ["--recipe", "flow.yaml", "--engine", "inline"]


def program(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    command = [sys.executable, "-c", "from wanprep.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def wanprep(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command line in this process, which is quicker."""
    (folder / "flow.yaml").write_text(
        "stages: {flow: {preset: ultrafast, consistency: false, short_side: 32}}\n"
    )
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["wanprep", *arguments])
        try:
            main()
        except SystemExit as end:
            code = end.code
    return subprocess.CompletedProcess(arguments, code or 0, out.getvalue(), err.getvalue())


def json_of(*arguments: str, folder: Path) -> Any:
    done = wanprep(*arguments, "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    # NaN and Infinity are no JSON, whatever Python thinks.
    return json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a video, a bad file and a store of both."""
    folder = tmp_path_factory.mktemp("cli")
    write_video(folder / "in/a.mp4", 8)
    (folder / "in/bad.mp4").write_text("no video")
    done = wanprep("run", "in", "-s", "store", *FLOW, folder=folder)
    assert done.returncode == 0, done.stderr
    assert "1 failed" in done.stdout and "store: " in done.stdout
    return folder


def test_run_plan_status_and_verify_as_json(made: Path) -> None:
    summary = json_of("run", "in", "-s", "store", *FLOW, folder=made)
    assert (summary["state"], summary["clips"], summary["clips_to_do"], summary["failed"]) == (
        "finished",
        2,
        0,
        1,
    )
    assert summary["failures"][0]["cause"].startswith("video: cannot be opened as media")
    assert summary["stages"]["flow"]["already_done"] == 1
    plan = json_of("plan", "in", "-s", "store", "-r", "flow.yaml", "--set", "flow.short_side=48", folder=made)
    assert plan["stages"]["flow"]["to_do"] == 1
    assert plan["stages"]["flow"]["reasons"] == {"config changed: short_side 32 -> 48": 1}
    assert plan["stages"]["flow"]["estimate"]["seconds"] > 0
    assert next(iter(plan["unusable"].values())).startswith("video: cannot be opened")
    status = json_of("status", "store", folder=made)
    assert status["stages"] == {"flow": {"done": 1, "skipped": 0, "failed": 0, "missing": 0}}
    assert len(status["failures"]) == status["unusable"] == 1
    verify = json_of("verify", "store", folder=made)
    assert verify["clean"] is True and verify["artifacts"] == 1


def test_plan_of_a_store_that_is_not_there_makes_none(made: Path) -> None:
    plan = json_of("plan", "in", "-s", "later", "-r", "flow.yaml", folder=made)
    assert plan["stages"]["flow"]["reasons"] == {"new clip": 1}
    assert not (made / "later").exists()


def test_people_are_shown_tables(made: Path) -> None:
    for arguments in (
        ["plan", "in", "-s", "store", "-r", "flow.yaml"],
        ["status", "store"],
        ["verify", "store"],
    ):
        done = wanprep(*arguments, folder=made)
        assert done.returncode == 0 and done.stderr == ""
        assert "flow" in done.stdout or "clean" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ["run", "ni", "-s", "s"],
            2,
            "ni: there is no such file or folder, and as a pattern it matches nothing",
        ),
        (["run", "in/*.mov", "-s", "s"], 2, "matches nothing"),
        (["run", "in", "-s", "s", "--set", "flwo.x=1"], 2, "no stage 'flwo'; did you mean 'flow'?"),
        (
            ["run", "in", "-s", "s", "--set", "flow.short_sied=1"],
            2,
            "unknown field 'short_sied'; did you mean",
        ),
        (["run", "in", "-s", "s", "--only", "flaw"], 2, "--only flaw: the recipe has no such stage"),
        (
            ["run", "in", "-s", "s", "--preset", "motoin"],
            2,
            "no preset is called 'motoin'; did you mean 'motion'?",
        ),
        (
            ["run", "in", "-s", "s", "--engine", "inlin"],
            2,
            "no engine is called 'inlin'; did you mean 'inline'?",
        ),
        (["plan", "in", "-s", "s", "-r", "none.yaml"], 2, "recipe none.yaml: cannot be read"),
        (["run", "in", "-s", "flow.yaml"], 1, "cannot be created (File exists)"),
        (["run", "in", "-s", "nosuch://bucket"], 1, "install the extra for its protocol"),
        (["status", "in"], 1, "is no wanprep store"),
        (["verify", "none"], 1, "is no wanprep store"),
        (["sheet", "store", "--clip", "zzz"], 1, "has no clip 'zzz'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_errors_are_one_line(made: Path, arguments: list[str], code: int, said: str) -> None:
    done = wanprep(*arguments, folder=made)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("wanprep: ") and said in line


def test_newer_store_is_refused(made: Path) -> None:
    (made / "newer").mkdir(exist_ok=True)
    (made / "newer/store.json").write_text('{"format_version": 99}')
    for arguments in (["status", "newer"], ["run", "in", "-s", "newer", *FLOW]):
        done = wanprep(*arguments, folder=made)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert "has store format 99, this wanprep reads up to 1; upgrade wanprep" in line


def test_strict_and_damaged_stores_have_exit_codes(made: Path) -> None:
    assert program("run", "in", "-s", "store", "--strict", *FLOW, folder=made).returncode == 3
    assert wanprep("run", "in/a.mp4", "-s", "store", "--strict", *FLOW, folder=made).returncode == 0
    wanprep("run", "in/a.mp4", "-s", "damaged", *FLOW, folder=made)
    (shard,) = (made / "damaged/artifacts/flow").glob("*.parquet")
    shard.write_bytes(b"PAR1")
    done = wanprep("verify", "damaged", folder=made)
    assert done.returncode == 1 and "cannot be read" in done.stdout and "Traceback" not in done.stderr


def test_usage_errors_are_2_and_help_is_0(made: Path) -> None:
    assert program("run", folder=made).returncode == 2
    assert wanprep("rnu", folder=made).returncode == 2
    assert wanprep("run", "in", "-s", "s", "--workers", "0", folder=made).returncode == 2
    for command in ("run", "plan", "status", "verify", "sheet", "doctor", "demo"):
        done = wanprep(command, "--help", folder=made)
        assert done.returncode == 0 and "Usage" in done.stdout


def test_help_is_instant(made: Path) -> None:
    """Under half a second on a quiet machine; the best of three is asked for twice that."""
    took = []
    for _ in range(3):
        started = time.monotonic()
        done = program("--help", folder=made)
        took.append(time.monotonic() - started)
        assert done.returncode == 0 and "Wan2.2-Animate" in done.stdout
    assert min(took) < 1.0, took


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom wanprep.cli import main\nsys.argv = ['wanprep', '--help']\n"
        "try:\n    main()\nexcept SystemExit: pass\n"
        "print(sorted({'numpy', 'pyarrow', 'av', 'cv2', 'ray', 'pydantic', 'mediapipe'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_ctrl_c_stops_cleanly_and_the_next_run_goes_on(tmp_path: Path) -> None:
    """The message that says how to go on was never printed."""
    for number in range(3):
        write_video(tmp_path / f"in/{number}.mp4", 400, size=(320, 240), seed=number)
    (tmp_path / "slow.yaml").write_text("stages: {flow: {preset: medium}}\n")
    command = ["run", "in", "-s", "store", "-r", "slow.yaml", "--engine", "inline"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from wanprep.cli import main; main()", *command],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore Ctrl-C, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("running:"):
            break
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "stopped; the same command goes on from here"
    assert "Traceback" not in errors
    (about,) = (tmp_path / "store/runs").glob("*.json")
    assert json.loads(about.read_text())["state"] == "stopped"
    leftovers = [
        name for _, _, names in os.walk(tmp_path / "store") for name in names if name.startswith(".tmp-")
    ]
    assert leftovers == []
    status = json_of("status", "store", folder=tmp_path)
    assert status["clips"] == 3 and status["stages"]["flow"]["missing"] > 0

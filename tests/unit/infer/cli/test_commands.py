"""The command line: options out of settings, exit codes, what is printed. The noise generator stands for the real."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from wanprep.errors import UsageError
from wanprep_infer import cli
from wanprep_infer.animate.settings import AnimateSettings
from wanprep_infer.commands.common import job_command
from wanprep_infer.memory.config import MemoryConfig
from wanprep_infer.s2v.settings import S2VSettings

MakeStore = Callable[..., str]
runner = CliRunner()


@pytest.fixture(scope="module")
def app(plugins: None) -> typer.Typer:
    from wanprep_test_plugins.generator import NoiseSettings

    made = typer.Typer(pretty_exceptions_enable=False)
    made.command("noise")(job_command("test_noise", NoiseSettings, "Noise.", without=("tts_command",)))
    made.command("other")(lambda: None)
    return made


@pytest.fixture
def run(app: typer.Typer, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Exit code, stdout and stderr of a command line."""

    def call(*arguments: str) -> tuple[int, str, str]:
        def run_app() -> None:
            app(["noise", *arguments])

        code: int | str | None = 0
        try:
            cli.main(run_app)
        except SystemExit as end:
            code = end.code
        said = capfd.readouterr()
        return int(code or 0), said.out, said.err

    return call


Run = Callable[..., tuple[int, str, str]]


def plain_help(command: str) -> str:
    text = runner.invoke(cli.app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    return " ".join(re.sub(r"[│╭╰─╮╯]", " ", text).split())


@pytest.mark.parametrize(("command", "settings"), [("animate", AnimateSettings), ("s2v", S2VSettings)])
def test_every_setting_is_an_option_with_its_description(
    command: str, settings: type[AnimateSettings | S2VSettings]
) -> None:
    text = plain_help(command)
    for model in (settings, MemoryConfig):
        for name, info in model.model_fields.items():
            assert f"--{name.replace('_', '-')}"[:16] in text, name
            assert " ".join(str(info.description).split())[:24] in text, name
            if isinstance(info.default, float | str):
                assert f"Default: {info.default}." in text
    assert ("--tts-command" in text) == (command == "s2v")


def test_help_needs_no_model_library() -> None:
    code = (
        "import sys, contextlib\n"
        "from wanprep_infer.cli import app\n"
        "with contextlib.suppress(SystemExit): app(['animate', '--help'])\n"
        "assert not {'torch', 'diffusers', 'transformers', 'ray', 'av'} & set(sys.modules), sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_job_from_the_command_line(run: Run, make_store: MakeStore, model: str, tmp_path: Path) -> None:
    store, out = make_store("a", "raise", "unfit"), tmp_path / "out"
    options = ["--store", store, "--model", model, "--out", str(out), "--seed", "1,2", "--steps", "3"]
    code, said, err = run(*options, "--log-file", str(tmp_path / "log"))
    assert code == 0
    lines = said.splitlines()
    assert re.fullmatch(r"made +a--noise-s1-[0-9a-f]{8}\.mp4 +8 frames in 0 s", lines[0])
    assert "skipped  unfit: has the wrong size: run again with another" in lines
    assert "failed   raise, seeds 1, 2: ValueError: no good" in lines
    assert lines[-3].startswith("2 made, 1 skipped, 2 failed in ") and "inline engine" in lines[-3]
    assert lines[-2] == "made by a tiny model of 1,000 parameters: expect noise"
    assert "a--noise-s1-" in err and "2 segments of 3 steps" in err
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [event["event"] for event in events] == [
        "run_start",
        "skipped",
        "made",
        "made",
        "failed",
        "failed",
        "run_end",
    ]
    code, said, _ = run(*options, "--json", "--strict", "--clip", "a", "--clip", "rai*")
    assert code == 3
    document = json.loads(said)
    assert document["counts"] == {"made": 0, "already": 2, "skipped": 0, "failed": 2}
    assert run(*options, "--clip", "a", "--strict")[0] == 0
    assert run(*options, "--clip", "unfit", "--strict")[0] == 0, "skipped is not failed"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--seed", "x"], "--seed 'x': give whole numbers with commas between them, such as 1,2,3"),
        (["--steps", "0"], "--steps 0: input should be greater than or equal to 1"),
        (["--clip", "nobody"], "--clip nobody: store"),
        (["--lora", "no.safetensors"], "no.safetensors"),
        (["--from-media", "a.mp4"], "give either --store, which `wanprep run` makes, or --from-media"),
        (["--reference", "a.png"], "--reference: is for --from-media; a store has it from `wanprep run`"),
        (["--tile", "8"], "--tile 8: input should be greater than or equal to 32"),
        (["--text-of", "nobody"], "--text-of nobody: store"),
        (["--parallel", "ulysses", "--engine", "ray"], "--parallel ulysses: runs in torchrun's processes"),
    ],
)
def test_bad_usage_exits_with_2_and_one_line(
    arguments: list[str], complaint: str, run: Run, make_store: MakeStore, model: str, tmp_path: Path
) -> None:
    options = ["--store", make_store("a", "b"), "--model", model, "--out", str(tmp_path / "out")]
    code, said, err = run(*options, *arguments)
    assert (code, said) == (2, "")
    assert err.startswith("wanprep-infer: ") and complaint in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--seed", "-1"], "--seed -1: is out of range"),
        (["--seed", "1,x"], "--seed '1,x': give whole numbers"),
        (["--lora", "no.safetensors"], "LoRA no.safetensors: no such file"),
        (["--engine", "raz"], "no engine is called 'raz'"),
        (["--steps", "0"], "--steps 0"),
        (["--out", "model"], "--out model: is a file; give a folder"),
        (["--model", "nothing"], "model 'nothing'"),
    ],
)
def test_bad_usage_is_told_before_media_are_prepared(
    arguments: list[str],
    complaint: str,
    run: Run,
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Named after the bug: a bad seed was told after the clips had been prepared."""
    monkeypatch.chdir(tmp_path)
    given = {"--from-media": "there-is-none.mp4", "--model": model, "--out": "out"}
    given |= dict([arguments])
    code, said, err = run(*(word for pair in given.items() for word in pair))
    assert (code, said) == (2, "") and complaint in err and err.count("\n") == 1


def test_a_broken_store_exits_with_1(run: Run, model: str, tmp_path: Path) -> None:
    code, _, err = run("--store", str(tmp_path), "--model", model, "--out", str(tmp_path / "out"))
    assert code == 1 and "is no wanprep store" in err and err.count("\n") == 1


def test_ctrl_c_exits_with_130(
    run: Run, make_store: MakeStore, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wanprep_infer.jobs.inline.run", stopped)
    options = ["--store", make_store("a", "b"), "--model", model, "--out", str(tmp_path / "out")]
    code, _, err = run(*options)
    assert code == 130 and "stopped; the same command goes on from here" in err


def test_a_setting_without_a_form_is_noticed() -> None:
    from pydantic import BaseModel

    class Odd(BaseModel):
        sizes: list[int] = []

    with pytest.raises(TypeError, match="has no form on a command line"):
        job_command("odd", Odd, "Odd.")


def test_ranks_beyond_the_first_write_nothing(
    run: Run,
    make_store: MakeStore,
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    diary: Callable[[], list[str]],
) -> None:
    monkeypatch.setenv("RANK", "1")
    options = ["--store", make_store("a", "b"), "--model", model, "--out", str(tmp_path / "out")]
    code, said, err = run(*options, "--parallel", "ulysses")
    assert (code, said, err) == (0, "", "")
    assert len(diary()) == 3, "they compute all the same"
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(UsageError, match="prepare with `wanprep run` first"):
        from wanprep_infer.commands.common import run_job

        run_job(
            "test_noise",
            model=model,
            out=tmp_path,
            from_media=["a.mp4"],
            settings={},
            memory={"parallel": "ulysses"},
            options={},
        )

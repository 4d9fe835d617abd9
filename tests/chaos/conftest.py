"""The job that is disturbed, and the tables of what became of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.media import write_video

import wanprep

sys.path.append(str(Path(__file__).parent))  # the modules of this folder

from disturbed import RECIPE
from table import TABLES, Line, Tables, write
from verdict import Verdict

_CLIPS = 8

Judge = Callable[..., None]


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight small videos, long enough that flow's tensors lie in files of their own."""
    folder = tmp_path_factory.mktemp("chaos-videos")
    for number in range(_CLIPS):
        write_video(folder / f"{number}.mp4", 20 + number, size=(240, 180), seed=number * 10)
    return folder


@pytest.fixture(scope="session")
def undisturbed(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("chaos-undisturbed") / "store"
    summary = wanprep.run(videos, store=store, preset=RECIPE, engine="inline")
    assert all(stage.done == _CLIPS for stage in summary.stages.values())
    assert list(store.glob("artifacts/flow/*.safetensors")), "make the videos larger"
    return store


@pytest.fixture
def judge(request: pytest.FixtureRequest) -> Judge:
    """`judge(fault, verdict)` enters a verdict in the table, then fails the test if it is bad."""

    def enter(fault: str, verdict: Verdict, *, injected: int = 1, twice_allowed: bool = False) -> None:
        tables = request.config.stash.setdefault(TABLES, Tables())
        tables.judged.add(request.node.nodeid)
        tables.faults.setdefault(fault, Line()).add(verdict, injected, twice_allowed)
        verdict.check()
        assert twice_allowed or not verdict.twice

    return enter


@pytest.fixture
def enter_corpus(request: pytest.FixtureRequest) -> Callable[[list[tuple[str, str, str]]], None]:
    """Enters file, end and cause of each file of the corpus."""

    def enter(lines: list[tuple[str, str, str]]) -> None:
        tables = request.config.stash.setdefault(TABLES, Tables())
        tables.judged.add(request.node.nodeid)
        tables.corpus = lines

    return enter


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    whole = config.option.markexpr == "chaos"
    write(terminalreporter, config.stash.get(TABLES, Tables()), whole=whole)

"""The job that is disturbed, and the table of what became of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers.media import write_video

import wanprep

sys.path.append(str(Path(__file__).parent))  # the modules of this folder

from disturbed import RECIPE
from verdict import Verdict

_COLUMNS = ("fault", "injected", "reruns", "lost", "twice", "temporary files left", "verify")
_CLIPS = 8


@dataclass
class _Line:
    injected: int = 0
    reruns: int = 0
    lost: int = 0
    twice: int = 0
    left: int = 0
    problems: int = 0
    wrong: int = 0

    def cells(self, fault: str) -> tuple[str, ...]:
        said = "clean" if not self.problems else f"{self.problems} problems"
        numbers = (self.injected, self.reruns, self.lost, self.twice, self.left)
        return (fault, *map(str, numbers), said if not self.wrong else f"{said}; {self.wrong} wrong")


_LINES = pytest.StashKey[dict[str, _Line]]()
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
        line = request.config.stash.setdefault(_LINES, {}).setdefault(fault, _Line())
        line.injected += injected
        line.reruns += verdict.reruns
        line.lost += verdict.lost
        line.twice += verdict.twice
        line.left += verdict.left
        line.problems += verdict.problems
        line.wrong += len(verdict.wrong)
        verdict.check()
        assert twice_allowed or not verdict.twice

    return enter


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(_LINES, {})
    if not lines:
        return
    table = [_COLUMNS, *(line.cells(fault) for fault, line in sorted(lines.items()))]
    widths = [max(len(row[column]) for row in table) for column in range(len(_COLUMNS))]
    terminalreporter.section("chaos")
    for row in table:
        first, *rest = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        terminalreporter.write_line("  ".join([first, *rest]).rstrip())

"""The tables at the end of `make chaos`: what was done to stores, and what became of bad files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import pytest
from verdict import Verdict

_FAULTS = (
    "fault",
    "schedules",
    "injected",
    "reruns",
    "lost",
    "twice",
    "equal copies",
    "left over",
    "verdict",
)
_OTHERS = ("other faults", "schedules", "seconds", "verdict")
_CORPUS = ("file", "end", "cause")
_OUTCOMES = ("passed", "failed", "skipped")


@dataclass
class Line:
    """One fault, over all its schedules."""

    schedules: int = 0
    injected: int = 0
    reruns: int = 0
    lost: int = 0
    twice: int = 0
    copies: int = 0  # keys that lie there twice, equal, where two jobs are allowed to do that
    left: int = 0
    wrong: int = 0

    def add(self, verdict: Verdict, injected: int, twice_allowed: bool) -> None:
        self.schedules += 1
        self.injected += injected
        self.reruns += verdict.reruns
        self.lost += verdict.lost
        self.twice += 0 if twice_allowed else verdict.twice
        self.copies += verdict.twice if twice_allowed else 0
        self.left += verdict.left
        self.wrong += len(verdict.wrong)

    def cells(self, fault: str) -> tuple[str, ...]:
        bad = self.lost or self.twice or self.left or self.wrong
        verdict = f"{self.wrong} wrong" if bad else "as undisturbed, verify clean"
        numbers = (self.schedules, self.injected, self.reruns, self.lost, self.twice, self.copies, self.left)
        return (fault, *map(str, numbers), verdict)


@dataclass
class Tables:
    """What the tests of a session have entered."""

    faults: dict[str, Line] = field(default_factory=dict)
    judged: set[str] = field(default_factory=set)  # ids of the tests that did
    corpus: list[tuple[str, str, str]] = field(default_factory=list)


TABLES = pytest.StashKey[Tables]()


def write(terminal: pytest.TerminalReporter, tables: Tables, *, whole: bool) -> None:
    """Prints what was entered; of a `whole` run also the tests that enter nothing, and how many passed."""
    if tables.corpus:
        terminal.section("corpus of bad files")
        _write(terminal, [_CORPUS, *tables.corpus])
    if tables.faults:
        terminal.section("chaos")
        lines = sorted(tables.faults.items())
        total = Line(*(sum(getattr(line, name) for _, line in lines) for name in Line.__dataclass_fields__))
        _write(terminal, [_FAULTS, *(line.cells(fault) for fault, line in lines), total.cells("all")])
    if whole:
        _write_reports(terminal, tables.judged)


def _write_reports(terminal: pytest.TerminalReporter, judged: Collection[str]) -> None:
    reports = [
        report
        for outcome in ("passed", "failed", "error", "skipped")
        for report in terminal.getreports(outcome)
        if isinstance(report, pytest.TestReport)
    ]
    if not reports:
        return
    if others := [report for report in reports if report.nodeid not in judged]:
        terminal.write_line("")
        _write(terminal, [_OTHERS, *_by_test(others)])
    count = {outcome: sum(report.outcome == outcome for report in reports) for outcome in _OUTCOMES}
    why = "; ".join(sorted({_reason(report) for report in reports if report.skipped}))
    terminal.write_line("")
    terminal.write_line(
        ", ".join(f"{count[outcome]} {outcome}" for outcome in _OUTCOMES) + (f" ({why})" if why else "")
    )


def _by_test(reports: Iterable[pytest.TestReport]) -> list[tuple[str, ...]]:
    """A line a test function, over its parameters."""
    found: dict[str, list[pytest.TestReport]] = {}
    for report in reports:
        found.setdefault(_function(report.nodeid), []).append(report)
    lines = []
    for name, of_test in sorted(found.items()):
        bad = sum(report.failed for report in of_test)
        skipped = all(report.skipped for report in of_test)
        verdict = f"{bad} failed" if bad else "skipped" if skipped else "passed"
        schedules = len({report.nodeid for report in of_test})
        seconds = sum(report.duration for report in of_test)
        lines.append((name, str(schedules), f"{seconds:.0f}", verdict))
    return lines


def _function(nodeid: str) -> str:
    file, _, test = nodeid.removeprefix("tests/").partition("::")
    words = test.partition("[")[0].rpartition("::")[2].removeprefix("test_").replace("_", " ")
    return f"{file.partition('/')[0]}: {words}"


def _reason(report: pytest.TestReport) -> str:
    place = report.longrepr
    return str(place[2]).removeprefix("Skipped: ") if isinstance(place, tuple) else "skipped"


def _write(terminal: pytest.TerminalReporter, table: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        terminal.write_line(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )

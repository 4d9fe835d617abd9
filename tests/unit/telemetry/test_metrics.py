"""The metrics file is what Prometheus reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wanprep.errors import UsageError
from wanprep.summary import RunSummary, StageSummary
from wanprep.telemetry.metrics import metrics_text, write_metrics

# The grammar of the text format 0.0.4, as Prometheus documents it.
_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\\\|\\"|\\n)*"'
_SAMPLE = re.compile(rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (\S+)")
_PAIR = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Labels = frozenset[tuple[str, str]]


def parse(text: str) -> tuple[dict[str, str], dict[tuple[str, Labels], float]]:
    """Metric -> its type, and each sample's value. Fails on what a scraper refuses."""
    assert text.endswith("\n") and "\r" not in text
    types: dict[str, str] = {}
    helped: set[str] = set()
    samples: dict[tuple[str, Labels], float] = {}
    open_metric = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            assert name not in helped, "one HELP a metric"
            helped.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name in helped and name not in types and kind in ("counter", "gauge")
            assert (kind == "counter") == name.endswith("_total")
            types[name], open_metric = kind, name
        else:
            match = _SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] == open_metric, "a metric's samples stand together, after its TYPE"
            labels = frozenset((name, value) for name, value in _PAIR.findall(match[2] or ""))
            assert (match[1], labels) not in samples, "each series once"
            samples[match[1], labels] = float(match[3])
            assert types[match[1]] == "gauge" or samples[match[1], labels] >= 0
    assert types.keys() == helped
    return types, samples


def summary(**fields: object) -> RunSummary:
    stages = {
        "flow": StageSummary(done=3, failed=1, seconds=2.5, nbytes=4096),
        "quality": StageSummary(skipped=2),
    }
    return RunSummary.model_validate(
        {
            "run": "r1",
            "store": "/s",
            "engine": "inline",
            "workers": 1,
            "stages": {name: stage.model_dump() for name, stage in stages.items()},
            "frames_read": 500,
            "begun_ns": 10**18,
            "updated_ns": 10**18 + 2 * 10**9,
            "worker_peak_bytes": 1 << 28,
            **fields,
        }
    )


def sample(text: str, name: str, **labels: str) -> float:
    return parse(text)[1][f"wanprep_{name}", frozenset(labels.items())]


def test_each_number_is_there() -> None:
    text = metrics_text(summary(), {("flow", "done"): 300, ("flow", "failed"): 70})
    assert sample(text, "clips_total", stage="flow", outcome="done") == 3
    assert sample(text, "clips_total", stage="flow", outcome="failed") == 1
    assert sample(text, "clips_total", stage="quality", outcome="skipped") == 2
    assert sample(text, "frames_total", stage="flow", outcome="done") == 300
    assert sample(text, "frames_total", stage="flow", outcome="failed") == 70
    assert sample(text, "committed_bytes", stage="flow") == 4096
    assert sample(text, "stage_seconds_total", stage="flow") == 2.5
    assert sample(text, "frames_per_second") == 250
    assert sample(text, "worker_peak_bytes") == 1 << 28
    assert sample(text, "run_active") == 1
    assert sample(metrics_text(summary(state="finished"), {}), "run_active") == 0


def test_labels_are_escaped() -> None:
    text = metrics_text(summary(run='a"b\\c\nd'), {})
    assert sample(text, "run_info", run=r"a\"b\\c\nd", engine="inline") == 1


def test_before_anything_was_done_all_series_are_there_with_zeros() -> None:
    empty = RunSummary(run="r", store="s", engine="ray", workers=2, stages={"flow": StageSummary()})
    types, samples = parse(metrics_text(empty, {}))
    assert samples["wanprep_clips_total", frozenset({("stage", "flow"), ("outcome", "failed")})] == 0
    assert len(types) >= 9


def test_the_file_is_replaced_at_once_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "m.prom"
    write_metrics(path, "one\n")
    reader = path.open()
    write_metrics(path, "two\n")
    assert reader.read() == "one\n", "whoever reads the old file reads it whole"
    reader.close()
    assert path.read_text() == "two\n" and list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--metrics-file .*none/m.prom: cannot be written"):
        write_metrics(tmp_path / "none/m.prom", "x\n")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        write_metrics(tmp_path / "folder", "x\n")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]

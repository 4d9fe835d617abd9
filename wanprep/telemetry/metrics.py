"""A run's numbers for Prometheus, in its text format 0.0.4, as a file for node_exporter's textfile collector."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from wanprep.errors import UsageError
from wanprep.summary import RunSummary

Sample = tuple[Mapping[str, str], float]


def metrics_text(summary: RunSummary, frames: Mapping[tuple[str, str], int]) -> str:
    """All metrics of a run. `frames` counts by stage and outcome (done, skipped, failed)."""
    stages = summary.stages.items()
    outcomes = ("done", "skipped", "failed")
    clips = [
        ({"stage": name, "outcome": outcome}, float(getattr(stage, outcome)))
        for name, stage in stages
        for outcome in outcomes
    ]
    ended = [
        ({"stage": name, "outcome": outcome}, float(frames.get((name, outcome), 0)))
        for name, _ in stages
        for outcome in outcomes
    ]
    about = {"run": summary.run, "engine": summary.engine}
    running = float(summary.state == "running")
    parts = [
        _metric("run_info", "gauge", "The run that the other metrics are of.", [(about, 1.0)]),
        _metric("run_active", "gauge", "1 while the run goes on, else 0.", [({}, running)]),
        _metric("run_seconds", "gauge", "Seconds since the run began.", [({}, summary.seconds)]),
        _metric(
            "updated_timestamp_seconds", "gauge", "When this was written.", [({}, summary.updated_ns / 1e9)]
        ),
        _metric("clips_total", "counter", "Clips that ended, by stage and outcome.", clips),
        _metric("frames_total", "counter", "Frames of the clips that ended, by stage and outcome.", ended),
        _metric(
            "stage_seconds_total",
            "counter",
            "Wall seconds inside each stage, over all workers.",
            [({"stage": name}, stage.seconds) for name, stage in stages],
        ),
        _metric(
            "committed_bytes",
            "gauge",
            "Bytes of artifacts that this run committed.",
            [({"stage": name}, float(stage.nbytes)) for name, stage in stages],
        ),
        _metric(
            "frames_per_second", "gauge", "Frames read a second, over all workers.", [({}, summary.rate)]
        ),
        _metric(
            "worker_peak_bytes",
            "gauge",
            "Most memory that any worker held.",
            [({}, float(summary.worker_peak_bytes))],
        ),
    ]
    return "".join(parts)


def _metric(name: str, kind: str, about: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP wanprep_{name} {about}", f"# TYPE wanprep_{name} {kind}"]
    for labels, value in samples:
        inside = ",".join(f'{label}="{_label(text)}"' for label, text in labels.items())
        lines.append(f"wanprep_{name}{{{inside}}} {value!r}" if inside else f"wanprep_{name} {value!r}")
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def write_metrics(path: Path, text: str) -> None:
    """Replaces the file at once, so that a scraper never sees half of it.

    Raises:
        UsageError: it cannot be written.
    """
    # node_exporter reads names that end in .prom only: this one does not.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"--metrics-file {path}: cannot be written ({error.strerror})") from error

"""Hears of a run's progress and passes it on: to the reporter, the run's file in the store, metrics and the log."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from wanprep.engine.job import Listener, Task, TaskResult
from wanprep.engine.progress import Reporter
from wanprep.errors import StoreError, UsageError
from wanprep.store import layout
from wanprep.store.store import Store
from wanprep.summary import RunSummary
from wanprep.telemetry.log import RunLog
from wanprep.telemetry.metrics import metrics_text, write_metrics

RUN_FILE_SECONDS = 10.0  # a write to a bucket each; often enough for someone who watches
METRICS_SECONDS = 5.0  # Prometheus scrapes every 15 s or more


def write_run(store: Store, summary: RunSummary) -> None:
    """Writes `runs/<id>.json`, whole or not at all."""
    summary.touch()
    store.files.write_bytes(
        f"{layout.RUNS}/{summary.run}.json", json.dumps(summary.to_json(), indent=1).encode()
    )


class RunObserver(Listener):
    """Of one run. `begin` and `end` stand around the engine's work."""

    def __init__(
        self, store: Store, summary: RunSummary, progress: Reporter, log: RunLog, metrics_file: Path | None
    ) -> None:
        self._store = store
        self._summary = summary
        self._progress = progress
        self._log = log
        self._metrics_file = metrics_file
        self._frames: Counter[tuple[str, str]] = Counter()
        self._frames_of: dict[str, int] = {}  # of a clip
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="telemetry", daemon=True)

    def begin(self, tasks: Sequence[Task], passes: int, decodes: Sequence[frozenset[str]]) -> None:
        """Before the engine: `passes` operators look at each clip of `tasks`. `decodes` are the stages that go over
        a clip's frames together, so that each set with anything to do reads them once."""
        items = [item for task in tasks for item in task.clips]
        self._frames_of = {item.clip.clip_id: item.clip.frames for item in items}
        frames = sum(
            item.clip.frames * sum(not names.isdisjoint(item.to_do) for names in decodes) for item in items
        )
        with self._lock:
            self._summary.begin(len(self._frames_of) * passes, frames)
        self._progress.begin(self._summary.passes_total, self._summary.frames_total)
        write_run(self._store, self._summary)
        self.write_metrics()
        self._thread.start()

    def end(self) -> None:
        """After the engine, however it ended; the final file is the runner's to write."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._progress.end()

    def task(self, result: TaskResult) -> None:
        with self._lock:
            self._summary.add(result)
            for name, count in result.frames.items():
                self._frames[name, "done"] += count
            for row in [*result.skips, *result.failures]:
                self._frames[row.stage, row.outcome] += self._frames_of.get(row.clip_id, 0)
        self._log.task(result)
        self._progress.clips(result.clips, sum(result.skipped.values()), sum(result.failed.values()))

    def frames(self, count: int) -> None:
        with self._lock:
            self._summary.frames_read += count
        self._progress.frames(count)

    def write_metrics(self) -> None:
        """Writes the metrics file, if one was asked for.

        Raises:
            UsageError: it cannot be written.
        """
        if self._metrics_file is not None:
            with self._lock:
                self._summary.touch()
                text = metrics_text(self._summary, self._frames)
            write_metrics(self._metrics_file, text)

    def _tick(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(METRICS_SECONDS):
            # What is only for looking at must not end a run; the run's last write says what is wrong.
            with contextlib.suppress(UsageError):
                self.write_metrics()
            if time.monotonic() - last >= RUN_FILE_SECONDS - 0.5:
                with contextlib.suppress(StoreError):
                    self._write_run()
                last = time.monotonic()

    def _write_run(self) -> None:
        with self._lock:
            copy = self._summary.model_copy(deep=True)
        write_run(self._store, copy)

"""Shows a run that goes on somewhere else, from the file that it writes into its store."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

from pydantic import ValidationError
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from wanprep.engine.progress import duration_text
from wanprep.errors import StoreError
from wanprep.hints import plural
from wanprep.store import layout
from wanprep.store.store import Store
from wanprep.summary import RunSummary
from wanprep.telemetry.observer import RUN_FILE_SECONDS
from wanprep.terminal import plain

REFRESH_SECONDS = 2.0
_LOOK_BACK = 20  # runs
_SILENT_SECONDS = 6 * RUN_FILE_SECONDS  # without a new file from another machine, before that is said


def read_run(store: Store, name: str) -> RunSummary:
    """A run's summary.

    Raises:
        StoreError: the file is damaged.
    """
    document = store.files.read_json(name)
    try:
        return RunSummary.model_validate(document)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise StoreError(
            f"store {store.files.root}: {name} is damaged ({where}: {problem['msg']})"
        ) from error


def newest_run(store: Store) -> tuple[str, RunSummary] | None:
    """File and summary of the newest run that goes on, or of the newest at all; None when there was none."""
    newest = None
    # The names begin with the time.
    for name in sorted(store.files.names(layout.RUNS, ".json"), reverse=True)[:_LOOK_BACK]:
        run = read_run(store, name)
        newest = newest or (name, run)
        if run.state == "running" and not is_gone(run):
            return name, run
    return newest


def is_gone(run: RunSummary) -> bool:
    """Whether the run's process, on this machine, has ended without a word."""
    if run.host != socket.gethostname() or run.pid <= 0:
        return False
    try:
        os.kill(run.pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def watch(store: Store, console: Console, sleep: Callable[[float], None] = time.sleep) -> RunSummary | None:
    """Shows the run that goes on, every two seconds, until it ends. Returns how it ended; None: there is no run."""
    found = newest_run(store)
    if found is None:
        console.print(f"no run has worked on {plain(store.files.root)} yet", markup=False, soft_wrap=True)
        return None
    name, run = found
    if run.state != "running" or is_gone(run):
        console.print("no run goes on; this was the last one:")
        console.print(picture(run))
        return run
    if console.is_terminal:
        with Live(picture(run), console=console, auto_refresh=False, transient=True) as live:
            while run.state == "running" and not is_gone(run):
                sleep(REFRESH_SECONDS)
                run = read_run(store, name)
                live.update(picture(run), refresh=True)
    else:
        told = -1
        while run.state == "running" and not is_gone(run):
            if run.updated_ns != told:  # a log needs no line that says the same
                console.print(progress_line(run), markup=False, highlight=False)
                told = run.updated_ns
            sleep(REFRESH_SECONDS)
            run = read_run(store, name)
    console.print(picture(run))
    return run


def progress_line(run: RunSummary) -> str:
    """How far a run is, in one line."""
    parts = [f"{run.passes_ended:,} of {run.passes_total:,} clips"]
    if run.frames_total:
        parts.append(f"{100 * run.frames_read / run.frames_total:.0f} % of the frames")
        parts.append(f"{run.rate:.1f} frames/s")
    if run.state == "running" and not is_gone(run) and (left := run.seconds_left) is not None:
        # As old as the file is, less is left.
        age = max(0.0, (time.time_ns() - run.updated_ns) / 1e9)
        parts.append(f"about {duration_text(max(left - age, 0))} left")
    return ", ".join(parts)


def picture(run: RunSummary) -> Group:
    """A run: its state, how far it is, what became of the clips by stage, the last failures."""
    about = (
        f"run {run.run}: {_state(run)}, {duration_text(run.seconds)}, "
        f"{plural(run.workers, 'worker') if run.workers else 'all workers'} of the {run.engine} engine on {run.host}"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    for name in ("to do", "done", "skipped", "failed"):
        table.add_column(name, justify="right")
    for name, stage in run.stages.items():
        counts = (stage.to_do, stage.done, stage.skipped, stage.failed)
        table.add_row(Text(plain(name)), *(f"{count:,}" if count else "-" for count in counts))
    failures = [
        Text(f"  {plain(row.clip_id)} {plain(row.stage)}: {plain(row.cause)}") for row in run.last_failures
    ]
    last = [Text("last failures:", style="bold"), *failures] if failures else []
    return Group(Text(plain(about)), Text(progress_line(run)), table, *last)


def _state(run: RunSummary) -> str:
    if run.state != "running":
        return run.state
    if is_gone(run):
        return "ended without a word (killed?); the same command goes on"
    silence = (time.time_ns() - run.updated_ns) / 1e9
    return "running" if silence < _SILENT_SECONDS else f"running, but silent for {duration_text(silence)}"

"""What a job did, for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from wanprep.engine.progress import duration_text
from wanprep.hints import plural, size_text
from wanprep.terminal import shown
from wanprep_infer.jobs.job import Outcome
from wanprep_infer.jobs.summary import GenerationSummary

_MOST_LINES = 50  # of videos, of skipped and of failed ones


def print_summary(console: Console, summary: GenerationSummary) -> None:
    """The videos made, what was skipped and why, what failed and why, and counts."""

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, highlight=False)

    made, there = summary.of("made"), summary.of("already")
    for outcome in made[:_MOST_LINES]:
        length = f"{plural(outcome.frames, 'frame')} in {duration_text(outcome.seconds)}"
        say(f"[green]made[/]     {shown(_name(outcome))}  {length}")
        for warning in outcome.warnings:
            say(f"         [yellow]note[/] {shown(warning)}")
    _more(console, len(made))
    _causes(console, "[yellow]skipped[/]  ", summary.of("skipped"))
    _causes(console, "[red]failed[/]   ", summary.failed)
    parts = [f"{len(made)} made"]
    for what, outcomes in (
        ("already there", there),
        ("skipped", summary.of("skipped")),
        ("failed", summary.failed),
    ):
        if outcomes:
            parts.append(f"{len(outcomes)} {what}")
    peak = max((outcome.peak_bytes for outcome in made), default=0)
    notes = f", peak {size_text(peak)}" if peak else ""
    if made or summary.failed:
        say(f"{', '.join(parts)} in {duration_text(summary.seconds)} with the {summary.engine} engine{notes}")
    else:
        say(", ".join(parts) if summary.outcomes else "nothing to make")
    if summary.note is not None and made:
        say(f"made by {summary.note}")
    if made or there:
        say(f"videos: {shown(summary.out)}")


def _causes(console: Console, word: str, outcomes: Sequence[Outcome]) -> None:
    """A line for each clip and cause, whatever the number of its seeds."""
    alike: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        alike.setdefault((outcome.label, outcome.why or "unknown"), []).append(outcome)
    for (label, why), same in list(alike.items())[:_MOST_LINES]:
        seeds = [str(outcome.seed) for outcome in same if outcome.seed is not None]
        of = f", seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}" if seeds else ""
        console.print(f"{word}{shown(label)}{of}: {shown(why)}", soft_wrap=True, highlight=False)
    _more(console, len(alike))


def _more(console: Console, count: int) -> None:
    if count > _MOST_LINES:
        console.print(f"         and {count - _MOST_LINES:,} more (--json lists all)")


def _name(outcome: Outcome) -> str:
    return Path(outcome.file or "").name

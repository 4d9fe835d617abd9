"""Plans, summaries and states as tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from schemas import OutcomeRecord
from wanprep.hints import plural, size_text
from wanprep.plan import Plan
from wanprep.report.estimate import Estimate
from wanprep.states import State
from wanprep.status import Status
from wanprep.summary import RunSummary, Warned
from wanprep.terminal import shown

_SHOWN_FAILURES = 10


def print_plan(console: Console, plan: Plan, estimates: Mapping[str, Estimate]) -> None:
    """One row a stage: to do, done, skipped, failed, blocked, and why."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    for name in ("to do", "done", "skipped", "failed", "blocked"):
        table.add_column(name, justify="right")
    table.add_column("estimate", justify="right")
    table.add_column("why")
    for name, stage in plan.stages.items():
        why = "; ".join(f"{shown(reason)} ({count:,})" for reason, count in stage.reasons.most_common(4))
        counts = [
            stage.count(state)
            for state in (State.TO_DO, State.DONE, State.SKIPPED, State.FAILED, State.BLOCKED)
        ]
        estimate = str(estimates[name]) if name in estimates and counts[0] else ""
        table.add_row(name, *(f"{count:,}" if count else "-" for count in counts), estimate, why)
    console.print(table)
    if plan.unusable:
        console.print(f"{plural(len(plan.unusable), 'clip')} cannot be used:")
        for clip in plan.unusable[:_SHOWN_FAILURES]:
            console.print(f"  {shown(clip.clip_id)}: {shown(clip.why_not or '')}", soft_wrap=True)
        _more(console, len(plan.unusable))
    to_do = len(plan.to_do)
    console.print(
        f"{plural(to_do, 'clip')} to run of {plural(len(plan.clips), 'clip')}" if to_do else "nothing to do"
    )


def print_summary(console: Console, summary: RunSummary) -> None:
    """What a run did, stage by stage, with frames per second of one worker."""
    earlier = any(stage.already_done or stage.already_skipped for stage in summary.stages.values())
    if summary.nothing_to_do:
        console.print(f"nothing to do: {plural(summary.clips, 'clip')} looked at in {summary.seconds:.1f} s")
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("stage")
        for name in ("done", "skipped", "failed", *(["already done"] if earlier else []), "frames/s", "size"):
            table.add_column(name, justify="right")
        for name, stage in summary.stages.items():
            already = stage.already_done + stage.already_skipped
            rate = stage.frames_per_second
            table.add_row(
                name,
                *(f"{n:,}" if n else "-" for n in (stage.done, stage.skipped, stage.failed + stage.blocked)),
                *([f"{already:,}" if already else "-"] if earlier else []),
                f"{rate:,.0f}" if rate else "",
                size_text(stage.nbytes) if stage.nbytes else "",
            )
        frames = max((stage.frames for stage in summary.stages.values()), default=0)
        for name, seconds in sorted(summary.shared_seconds.items()):
            if seconds >= 0.01:
                shared = f"{frames / seconds:,.0f}" if frames else ""
                table.add_row(
                    f"[dim]({shown(name)})[/]", *[""] * (4 if earlier else 3), f"[dim]{shared}[/]", ""
                )
        console.print(table)
        if summary.shared_seconds:
            console.print("[dim](in brackets: work that stages share; frames/s are of one worker)[/]")
        console.print(
            f"{plural(summary.clips_to_do, 'clip')} in {summary.seconds:.1f} s with the {summary.engine} engine, "
            f"{_workers(summary.workers)}, peak {size_text(summary.worker_peak_bytes)} a worker"
        )
    if summary.clips_too_short:
        console.print(f"{plural(summary.clips_too_short, 'clip')} shorter than timeline.min_frames left out")
    _print_failures(console, [(f.clip_id, f.stage, f.cause) for f in summary.failures], summary.failed)
    _print_warnings(
        console, summary.warnings, summary.warnings_total, "`wanprep status STORE --json` has all"
    )
    if summary.inputs_ignored:
        console.print(
            f"{plural(summary.inputs_ignored, 'other file')} in the folders left alone (no video by name)"
        )
    if summary.inputs_repeated:
        console.print(f"{plural(summary.inputs_repeated, 'input')} given more than once, taken once")


def _workers(count: int) -> str:
    return plural(count, "worker") if count else "all workers of the cluster"


def print_status(console: Console, status: Status) -> None:
    """What a store holds."""
    console.print(f"{plural(status.clips, 'clip')}, {plural(status.frames, 'frame')}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    for name in ("done", "skipped", "failed", "missing"):
        table.add_column(name, justify="right")
    for name, stage in status.stages.items():
        counts = (stage.done, stage.skipped, stage.failed, stage.missing)
        table.add_row(name, *(f"{count:,}" if count else "-" for count in counts))
    console.print(table)
    for reason, count in status.reasons.most_common(_SHOWN_FAILURES):
        console.print(f"skipped: {shown(reason)} ({count:,})", soft_wrap=True)
    _print_failures(console, [_failure(row) for row in status.failures], len(status.failures))
    _print_warnings(console, status.warnings, len(status.warnings), "`wanprep status STORE --json` has all")


def _failure(row: OutcomeRecord) -> tuple[str, str, str]:
    return row.clip_id, row.stage, row.cause or "unknown"


def _print_failures(console: Console, failures: Sequence[tuple[str, str, str]], count: int) -> None:
    if not count:
        return
    console.print(f"[bold]{count:,} failed[/] (`--retry-failed` tries again):")
    merged: dict[tuple[str, str], list[str]] = {}
    for clip, stage, cause in failures:
        merged.setdefault((clip, cause), []).append(stage)
    for (clip, cause), stages in list(merged.items())[:_SHOWN_FAILURES]:
        console.print(f"  {shown(clip)} [dim]{shown(', '.join(stages))}[/]: {shown(cause)}", soft_wrap=True)
    _more(console, len(merged))


def _print_warnings(console: Console, warnings: Sequence[Warned], count: int, rest: str) -> None:
    if not count:
        return
    console.print(f"{plural(count, 'warning')} about what is done:")
    for row in warnings[:_SHOWN_FAILURES]:
        console.print(
            f"  {shown(row.clip_id)} [dim]{shown(row.stage)}[/]: {shown(row.warning)}", soft_wrap=True
        )
    if count > _SHOWN_FAILURES:
        console.print(f"  and {count - _SHOWN_FAILURES:,} more: {rest}", soft_wrap=True)


def _more(console: Console, count: int) -> None:
    if count > _SHOWN_FAILURES:
        console.print(f"  and {count - _SHOWN_FAILURES:,} more: `wanprep status STORE --json` has all")

"""The command line. Everything heavy is imported inside the commands, so that `--help` is instant.

Exit codes: 0 done, even with failed clips, which are counted; 1 the job or the store broke; 2 bad usage or
recipe; 3 with `--strict` and failures; 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wanprep.errors import UsageError, WanprepError
from wanprep.exit_codes import guarded
from wanprep.export import command as export_command
from wanprep.models import command as models_command
from wanprep.options import (
    AudioOption,
    Inputs,
    JsonOption,
    ModelsOption,
    OnlyOption,
    PresetOption,
    PromptOption,
    RecipeOption,
    ReferenceOption,
    SetOption,
    StoreArgument,
    StoreOption,
)
from wanprep.terminal import console

if TYPE_CHECKING:
    from wanprep.recipe import Recipe

app = typer.Typer(
    help="Prepare conditioning for Wan2.2-Animate and Wan2.2-S2V: videos in, a store of Parquet and latent shards out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(models_command.app, name="models", help="Checkpoints: list them, fetch one, make tiny ones.")
app.command("export")(export_command.export_clips)
app.command("import")(export_command.import_folders)


@app.command()
def run(
    inputs: Inputs,
    store: StoreOption,
    recipe: RecipeOption = None,
    preset: PresetOption = None,
    set_: SetOption = None,
    only: OnlyOption = None,
    reference: ReferenceOption = None,
    audio: AudioOption = None,
    prompt: PromptOption = None,
    models: ModelsOption = None,
    engine: Annotated[str, typer.Option(help="auto, inline (this process) or ray.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes at a time; default: one a core.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="A Ray cluster to run on.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed before.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 when any clip failed.")] = False,
    metrics_file: Annotated[
        Path | None, typer.Option(help="Keep a Prometheus text file (.prom) up to date here.")
    ] = None,
    log_file: Annotated[Path | None, typer.Option(help="Append events here, as JSON lines.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make what the store does not hold yet. Stop it any time; the same command goes on."""
    from wanprep.engine.progress import reporter
    from wanprep.report.tables import print_summary
    from wanprep.runner import run as run_job

    summary = run_job(
        inputs,
        store=store,
        recipe=_recipe(recipe, preset, set_, only, models),
        reference=reference,
        audio=audio,
        prompt=prompt,
        models=models,
        engine=engine,
        workers=workers,
        address=address,
        retry_failed=retry_failed,
        progress=reporter(),
        metrics_file=metrics_file,
        log_file=log_file,
    )
    if as_json:
        _print_json(summary.to_json())
    else:
        print_summary(console(), summary)
        console().print(f"store: {_escape(summary.store)}", soft_wrap=True, highlight=False)
        if any(stage.done for stage in summary.stages.values()):
            console().print(f"look at it: wanprep sheet {_escape(store)}", soft_wrap=True, highlight=False)
    if strict and summary.failed:
        raise typer.Exit(3)


@app.command()
def plan(
    inputs: Inputs,
    store: StoreOption,
    recipe: RecipeOption = None,
    preset: PresetOption = None,
    set_: SetOption = None,
    only: OnlyOption = None,
    reference: ReferenceOption = None,
    audio: AudioOption = None,
    prompt: PromptOption = None,
    models: ModelsOption = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Count what failed as to do.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what a run would make, and why. Makes nothing."""
    from wanprep.engine.progress import reporter
    from wanprep.inputs import read_inputs
    from wanprep.models.progress import heard_by
    from wanprep.prepare import check_available, prepare
    from wanprep.report.estimate import estimates
    from wanprep.report.tables import print_plan
    from wanprep.states import State
    from wanprep.store import layout
    from wanprep.store.fs import StoreFiles
    from wanprep.store.store import Store

    chosen = _recipe(recipe, preset, set_, only, models)
    progress = reporter()
    with heard_by(progress.phase):
        check_available(chosen)
        chosen.to_document()
    opened = Store.open(store) if StoreFiles(store).exists(layout.STORE_FILE) else None
    listed = read_inputs(inputs, reference=reference, audio=audio, prompt=prompt)
    prepared = prepare(listed, chosen, opened, retry_failed=retry_failed, progress=progress.phase)
    result = prepared.plan
    guesses = estimates(result, opened)
    if not as_json:
        print_plan(console(), result, guesses)
        return
    stages = {
        name: {
            **{state.name.lower(): stage.count(state) for state in State},
            "reasons": dict(stage.reasons),
            "estimate": vars_of(guesses[name]) if name in guesses else None,
        }
        for name, stage in result.stages.items()
    }
    unusable = {clip.clip_id: clip.why_not for clip in result.unusable}
    _print_json(
        {"clips": len(result.clips), "to_do": len(result.to_do), "stages": stages, "unusable": unusable}
    )


@app.command()
def status(
    store: StoreArgument,
    as_json: JsonOption = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show the run that goes on, until it ends or Ctrl-C.")
    ] = False,
) -> None:
    """Show what a store holds, what was skipped and what failed."""
    if watch:
        _watch(store, as_json)
        return
    from wanprep.report.tables import print_status
    from wanprep.status import status as read_status
    from wanprep.store.store import Store

    found = read_status(Store.open(store))
    if as_json:
        _print_json(found.to_json())
    else:
        print_status(console(), found)


def _watch(store: str, as_json: bool) -> None:
    from wanprep.store.store import Store
    from wanprep.telemetry.watch import watch

    if as_json:
        raise UsageError("--watch is for looking at, --json for scripts; leave one of the two out")
    try:
        watch(Store.open(store), console())
    except KeyboardInterrupt:
        # Whoever watches stops looking; the run goes on.
        return


@app.command()
def verify(
    store: StoreArgument,
    quick: Annotated[bool, typer.Option("--quick", help="Check bounds, not the tensors' bytes.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Re-read a store and check schemas, digests and references. Exit code 1 when something is wrong."""
    from wanprep.engine.progress import reporter
    from wanprep.hints import plural, size_text
    from wanprep.store.store import Store
    from wanprep.store.verify import verify as verify_store

    progress = reporter()
    report = verify_store(
        Store.open(store),
        digests=not quick,
        progress=lambda done, total: progress.phase("verify", done, total),
    )
    if as_json:
        _print_json({**vars(report), "clean": report.clean})
    else:
        out = console()
        out.print(
            f"{plural(report.files, 'file')}, {plural(report.artifacts, 'artifact')}, "
            f"{plural(report.tensors, 'tensor')}, {size_text(report.nbytes)}"
        )
        for problem in report.problems:
            out.print(f"[red]wrong[/] {_escape(problem)}", soft_wrap=True, highlight=False)
        for name in report.temporaries:
            out.print(f"unfinished: {_escape(name)} (a later run removes it)", soft_wrap=True)
        if report.missing:
            out.print(f"{plural(report.missing, 'artifact')} not made yet: run the recipe again")
        out.print("clean" if report.clean else plural(len(report.problems), "problem"))
    if not report.clean:
        raise typer.Exit(1)


@app.command()
def compact(
    store: StoreArgument,
    stage: Annotated[
        list[str] | None, typer.Option("--stage", help="Only this stage; may be repeated. Default: all.")
    ] = None,
    target_mb: Annotated[
        int, typer.Option("--target-mb", min=1, max=2048, help="Size of the merged shards, in MiB.")
    ] = 256,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that old tensor files stay for readers at work.")
    ] = 3600.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be merged. Changes nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Merge small shards into larger ones, beside readers and runs. Stop it any time; the same command goes on."""
    from wanprep.engine.progress import reporter
    from wanprep.report.compaction import print_compaction
    from wanprep.store.compact import compact as compact_store

    progress = reporter()
    done = compact_store(
        store,
        stages=stage or (),
        target_bytes=target_mb << 20,
        grace_seconds=grace,
        dry_run=dry_run,
        progress=lambda groups, total: progress.phase("compact", groups, total),
    )
    if as_json:
        _print_json(vars_of(done))
    else:
        print_compaction(console(), done, dry_run=dry_run)
    if done.problems:
        raise typer.Exit(1)


@app.command()
def sheet(
    store: StoreArgument,
    clip: Annotated[
        str | None, typer.Option(help="Id of a clip, or how it begins; default: the first.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG to write.")] = Path("sheet.png"),
    rows: Annotated[int, typer.Option(min=1, max=40, help="Frames shown, evenly spaced.")] = 6,
    start: Annotated[float, typer.Option(min=0, help="Seconds into the clip at which to begin.")] = 0.0,
    end: Annotated[float | None, typer.Option(help="Seconds at which to end.")] = None,
) -> None:
    """Draw a contact sheet: frames with what was found over them; of a clip without video, picture, sound and words."""
    from wanprep.report.card import write_card
    from wanprep.report.sheet import write_sheet
    from wanprep.store.store import Store

    opened = Store.open(store)
    chosen = opened.clip(clip) if clip else next(opened.clips(), None)
    if chosen is None:
        raise WanprepError(f"store {store}: holds no clip")
    if chosen.record.video is None:
        write_card(chosen, output)
    else:
        write_sheet(opened, chosen, output, rows=rows, start=start, end=end)
    console().print(_escape(str(output)), soft_wrap=True, highlight=False)


@app.command()
def doctor(
    store: Annotated[
        str | None, typer.Option("--store", "-s", help="Also check that this store can be written.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what works on this machine, and what would enable the rest."""
    from wanprep.doctor import examine, print_findings

    findings = examine(store)
    if as_json:
        _print_json([vars_of(finding) for finding in findings])
    else:
        print_findings(console(), findings)
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to make the demo in.")] = Path("demo"),
    engine: Annotated[str, typer.Option(help="auto, inline or ray.")] = "ray",
) -> None:
    """Draw a sample clip, run it through every stage, and draw a contact sheet to look at."""
    from wanprep.demo import run_demo
    from wanprep.engine.progress import reporter

    run_demo(folder, console(), reporter(), engine=engine)


def _recipe(
    recipe: str | None, preset: str | None, set_: list[str] | None, only: str | None, models: Path | None
) -> Recipe:
    from wanprep.recipe import load_recipe

    chosen = [name.strip() for name in only.split(",") if name.strip()] if only else []
    return load_recipe(recipe, preset=preset, overrides=set_ or [], only=chosen, models=models)


def _escape(text: str) -> str:
    from wanprep.terminal import shown

    return shown(text)


def vars_of(record: Any) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(record)


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=1))


def main(call: Callable[[], Any] = app) -> None:
    """Runs the command line; errors for people are one line on stderr."""
    guarded(call, "wanprep")

"""What the commands share: the options of a job, and the way from them to a job and its exit code."""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from wanprep.terminal import console
from wanprep_infer.commands.options import numbers, with_fields
from wanprep_infer.load_options import Options
from wanprep_infer.memory.config import MemoryConfig

_FROM = "Input"
_PREPARE = "With --from-media"
_MODEL = "Model and memory"
_JOB = "Job"


def job_command(
    kind: str, settings: type[BaseModel], help_text: str, *, without: Collection[str] = ()
) -> Callable[..., None]:
    """The command of a kind of generation: options of every job, of its settings, and of memory.

    Args:
        without: options of every job that this one does not have.
    """

    def command(**given: Any) -> None:
        run_job(kind, **given)

    own = inspect.signature(run_job, eval_str=True)
    kept = [item for name, item in own.parameters.items() if name != "kind" and name not in without]
    command.__signature__ = own.replace(parameters=kept)  # type: ignore[attr-defined]
    command.__name__, command.__doc__ = kind, help_text
    with_options = with_fields(Options, "options", panel=_MODEL, without=("memory", "loras"))(command)
    with_memory = with_fields(MemoryConfig, "memory", panel=_MODEL)(with_options)
    return with_fields(settings, "settings", panel="Generation")(with_memory)


def run_job(
    kind: str,
    *,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Folder or name of the generator's checkpoint.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the videos and their side-cars.")],
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            "-s",
            help="Store that `wanprep run` has made.",
            rich_help_panel=_FROM,
            show_default=False,
        ),
    ] = None,
    clip: Annotated[
        list[str] | None,
        typer.Option(
            help="Id of a clip, how it begins, a pattern such as 'dance*', or all; may be repeated. Default: all.",
            rich_help_panel=_FROM,
            show_default=False,
        ),
    ] = None,
    text_of: Annotated[
        list[str] | None,
        typer.Option(
            help="Take the prompt of this clip of the store instead of each clip's own; may be repeated.",
            rich_help_panel=_FROM,
            show_default=False,
        ),
    ] = None,
    from_media: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead of --store: video, sound, folder or manifest that is prepared first; may be repeated.",
            rich_help_panel=_FROM,
            show_default=False,
        ),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Reference picture.", rich_help_panel=_PREPARE, show_default=False)
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Prompt.", rich_help_panel=_PREPARE, show_default=False)
    ] = None,
    audio: Annotated[
        str | None,
        typer.Option(
            help="Sound in the place of the video's own.", rich_help_panel=_PREPARE, show_default=False
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="What is prepared; default: what the generation needs.",
            rich_help_panel=_PREPARE,
            show_default=False,
        ),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(
            help="Folder of the encoders' checkpoints.", rich_help_panel=_PREPARE, show_default=False
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="stage.field=value of the preparation; may be repeated.",
            rich_help_panel=_PREPARE,
            show_default=False,
        ),
    ] = None,
    keep_store: Annotated[
        str | None,
        typer.Option(
            help="Keep what was prepared in this store.", rich_help_panel=_PREPARE, show_default=False
        ),
    ] = None,
    tts_command: Annotated[
        str | None,
        typer.Option(
            help="Program that speaks the text file given: words {text} and {out} are filled in.",
            rich_help_panel=_PREPARE,
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        str, typer.Option(help="Seeds, with commas between them: a video each.", rich_help_panel="Generation")
    ] = "0",
    lora: Annotated[
        list[str] | None,
        typer.Option(
            help="LoRA as PATH or PATH:scale; may be repeated.", rich_help_panel=_MODEL, show_default=False
        ),
    ] = None,
    sound: Annotated[bool, typer.Option(help="Put the clip's sound into the video.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Make again what is there.")] = False,
    engine: Annotated[
        str, typer.Option(help="auto, inline (this process) or ray.", rich_help_panel=_JOB)
    ] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Generations at a time; default: one a GPU.", rich_help_panel=_JOB),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster to run on.", rich_help_panel=_JOB, show_default=False)
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 when any generation failed.", rich_help_panel=_JOB)
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for scripts.", rich_help_panel=_JOB)
    ] = False,
    log_file: Annotated[
        Path | None,
        typer.Option(help="Append events here, as JSON lines.", rich_help_panel=_JOB, show_default=False),
    ] = None,
    settings: dict[str, Any],
    memory: dict[str, Any],
    options: dict[str, Any],
) -> None:
    from wanprep.engine.progress import reporter as phases_of
    from wanprep.errors import UsageError
    from wanprep_infer.commands.output import print_summary
    from wanprep_infer.generate import generate
    from wanprep_infer.jobs.ranks import is_first
    from wanprep_infer.jobs.usage import check_usage, checked_options
    from wanprep_infer.progress import reporter

    loading = checked_options({**options, "memory": memory, "loras": tuple(lora or ())})
    first = is_first(loading.memory)
    if from_media and loading.memory.parallel != "none":
        raise UsageError(
            "--from-media: prepare with `wanprep run` first, so that all processes read one store"
        )
    seeds = numbers(seed, "--seed")
    # Before anything is prepared; a job looks again.
    check_usage(out=out, seeds=seeds, options=loading, engine_name=engine, workers=workers, address=address)
    phases = phases_of() if first else None
    preparing = {
        "--reference": reference,
        "--prompt": prompt,
        "--audio": audio,
        "--preset": preset,
        "--models": models,
        "--set": set_,
        "--keep-store": keep_store,
        "--tts-command": tts_command,
    }
    source = _store(kind, settings, model, store, from_media or [], preparing, out, phases)
    with source as (opened, clips):
        summary = generate(
            kind,
            store=opened,
            clips=clip or clips,
            texts_of=text_of or [],
            model=model,
            seeds=seeds,
            settings=settings,
            options=loading,
            out=out,
            sound=sound,
            force=force,
            engine_name=engine,
            workers=workers,
            address=address,
            progress=reporter() if first else None,
            phases=phases,
            log_file=log_file if first else None,
        )
    if not first:
        return
    if as_json:
        print(json.dumps(summary.to_json(), indent=1))
    else:
        print_summary(console(), summary)
    if strict and summary.failed:
        raise typer.Exit(3)


@contextlib.contextmanager
def _store(
    kind: str,
    settings: dict[str, Any],
    model: str,
    store: str | None,
    inputs: list[str],
    preparing: dict[str, Any],
    out: Path,
    phases: Any,
) -> Iterator[tuple[str, list[str]]]:
    """The store that is named, or one made of media; and the media's clips."""
    from wanprep.errors import UsageError
    from wanprep.models.progress import heard_by
    from wanprep_infer.from_media import Media, prepared, speech
    from wanprep_infer.generators.registry import generator
    from wanprep_infer.jobs.usage import checked_settings

    if (store is None) == (not inputs):
        raise UsageError("give either --store, which `wanprep run` makes, or --from-media")
    if store is not None:
        for option, value in preparing.items():
            if value is not None:
                raise UsageError(f"{option}: is for --from-media; a store has it from `wanprep run`")
        yield store, ["all"]
        return
    chosen = generator(kind)
    preset = preparing["--preset"] or chosen.preset(checked_settings(kind, settings))
    with heard_by(phases.phase):
        chosen.model(model)  # before the work: a model that is not there is better known now
    if preparing["--tts-command"] is not None:
        inputs = speech(preparing["--tts-command"], inputs, out)
    media = Media(
        inputs=inputs,
        reference=preparing["--reference"],
        prompt=preparing["--prompt"],
        audio=preparing["--audio"],
        models=preparing["--models"],
        overrides=preparing["--set"] or (),
    )
    with prepared(media, preset, preparing["--keep-store"], phases) as made:
        yield made

"""A run from end to end: prepare, write the clips down, hand the tasks to an engine, sum up."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from schemas import SCHEMA_VERSION
from wanprep import graph, registry
from wanprep.engine.job import make_job
from wanprep.engine.progress import Reporter, silent
from wanprep.engine.tasks import make_tasks
from wanprep.enrol import enrol
from wanprep.errors import UsageError
from wanprep.inputs import read_inputs
from wanprep.key import canonical_json
from wanprep.models.device import torch_device
from wanprep.models.needed import fetch_needed
from wanprep.models.progress import heard_by
from wanprep.plan import Plan
from wanprep.prepare import Prepared, Source, check_available, prepare
from wanprep.recipe import Recipe, load_recipe
from wanprep.states import State
from wanprep.store.cleanup import remove_abandoned
from wanprep.store.store import Store
from wanprep.summary import RunSummary, StageSummary
from wanprep.telemetry.log import RunLog
from wanprep.telemetry.observer import RunObserver, write_run

INLINE_FRAMES = 1_000  # frames of work up to which one process is done before Ray has paid for its start
_CLUSTER_WORKERS = 32  # a guess at a cluster's size, for cutting tasks
_LIBRARIES = (
    "wanprep",
    "av",
    "mediapipe",
    "numpy",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
    "torch",
    "transformers",
    "diffusers",
)


def run(
    inputs: Source | Iterable[Source],
    *,
    store: str | os.PathLike[str],
    recipe: str | Path | Mapping[str, Any] | Recipe | None = None,
    preset: str | None = None,
    overrides: Iterable[str] = (),
    only: Iterable[str] = (),
    models: str | os.PathLike[str] | None = None,
    engine: str = "auto",
    workers: int | None = None,
    address: str | None = None,
    reference: Source | None = None,
    audio: Source | None = None,
    prompt: str | None = None,
    retry_failed: bool = False,
    progress: Reporter | None = None,
    metrics_file: str | os.PathLike[str] | None = None,
    log_file: str | os.PathLike[str] | None = None,
) -> RunSummary:
    """Makes what the store does not hold yet of `inputs` under the recipe.

    Args:
        inputs: a video file, a folder, a glob, a manifest (csv, jsonl, parquet), or a list of them.
        store: folder or bucket address; made when it is not there.
        recipe: a YAML file, a preset's name, a mapping, or a loaded recipe; None takes the preset.
        preset: a preset to start from (`features` by default).
        overrides: `stage.field=value` on top of the recipe.
        only: just these stages and those they take in.
        models: a folder of models: a stage's model is taken from `models`/name where that is there. Without it,
            models that are missing are fetched from the Hugging Face hub before anything starts.
        engine: `inline` (this process), `ray`, a plug-in's engine, or `auto`.
        workers: processes at a time; None takes one a core.
        address: a Ray cluster to run on.
        reference: the reference picture of clips that have none of their own in a manifest.
        audio: the sound of clips that have none of their own in a manifest: a sound file, or a video with sound. It
            takes the place of a video's own sound.
        prompt: the prompt of clips that have none of their own in a manifest.
        retry_failed: try again what failed in earlier runs.
        progress: hears of progress; None is silent.
        metrics_file: written again and again while the run goes on, in Prometheus' text format.
        log_file: events are appended to it, a JSON object a line.

    Returns:
        What was done, with failures. A failed clip is no error.

    Raises:
        UsageError: bad inputs, recipe or options.
        StoreError: the store cannot be written.
    """
    progress = progress or silent()
    loaded = (
        recipe.with_models(models)
        if isinstance(recipe, Recipe)
        else load_recipe(recipe, preset=preset, overrides=overrides, only=only, models=models)
    )
    with heard_by(progress.phase):
        fetch_needed(loaded.stages, models)
        check_available(loaded)
        # Digests enter keys: read here, where there is something to see of it.
        loaded.to_document()
    if workers is not None and workers < 1:
        raise UsageError(f"workers={workers}: at least one process is needed")
    workers = workers or (0 if address else _cores())  # 0: as many as the cluster holds
    started_ns = time.time_ns()
    sources = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    listed = read_inputs(sources, reference=reference, audio=audio, prompt=prompt)
    run_id = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}{secrets.token_hex(2)}"
    opened = Store.create(os.fspath(store), run=run_id, created_by=f"wanprep {version('wanprep')}")
    remove_abandoned(opened)
    prepared = prepare(listed, loaded, opened, retry_failed=retry_failed, progress=progress.phase)
    plan = prepared.plan
    chosen = _choose(engine, plan, workers, address)
    if chosen == "inline":
        workers = 1
        _check_gpu(loaded)
    summary = _summary(prepared, run_id, opened.files.root, chosen, workers)
    summary.started_ns = started_ns
    log = RunLog(run_id)
    with log.to_file(Path(log_file) if log_file is not None else None):
        observer = RunObserver(opened, summary, progress, log, Path(metrics_file) if metrics_file else None)
        observer.write_metrics()  # a place that cannot be written is said before the work
        log.begin(summary)
        for clip in enrol(plan, opened, run_id, started_ns):
            summary.add_failure(clip.clip_id, "clip", clip.why_not or "")
            log.unusable(clip)
        try:
            if summary.clips_to_do:
                _execute(prepared, opened, summary, chosen, workers, address, observer)
            summary.touch()
            summary.state = "finished"
        except BaseException as error:
            summary.touch()
            summary.state = "stopped" if isinstance(error, KeyboardInterrupt) else "error"
            log.end(summary, error)
            raise
        finally:
            if summary.clips_to_do:
                write_run(opened, summary)
            with contextlib.suppress(UsageError):  # it could be written before; numbers to look at end no run
                observer.write_metrics()
        log.end(summary, None)
    return summary


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _choose(engine: str, plan: Plan, workers: int, address: str | None) -> str:
    """Inline for a small job on one machine, Ray otherwise or when an address is given."""
    if engine != "auto":
        if address and engine == "inline":
            raise UsageError(
                f"the inline engine runs in this process, not at {address}; leave one of the two out"
            )
        registry.engine(engine)
        return engine
    if address:
        return "ray"
    frames = sum(plan.clips[int(index)].frames for index in plan.to_do)
    small = frames <= INLINE_FRAMES or len(plan.to_do) == 1 or workers == 1
    return "inline" if small or "ray" not in registry.names(registry.ENGINES) else "ray"


def _check_gpu(recipe: Recipe) -> None:
    """Ray looks for the GPUs of its machines itself; this process has its own alone."""
    for stage in recipe.stages:
        if stage.resources.gpus > 0 and getattr(stage.config, "device", None) == "cuda":
            try:
                torch_device("cuda")
            except UsageError as error:
                raise UsageError(f"stages.{stage.name}: {error}") from error


def _summary(prepared: Prepared, run_id: str, store: str, engine: str, workers: int) -> RunSummary:
    plan = prepared.plan
    return RunSummary(
        run=run_id,
        store=store,
        engine=engine,
        workers=workers,
        host=socket.gethostname(),
        pid=os.getpid(),
        clips=len(plan.clips) + len(plan.unusable),
        clips_unusable=sum(not clip.frames for clip in plan.unusable),
        clips_too_short=sum(bool(clip.frames) for clip in plan.unusable),
        clips_to_do=len(plan.to_do),
        inputs_ignored=prepared.inputs.ignored,
        inputs_repeated=prepared.inputs.repeated,
        stages={
            name: StageSummary(
                to_do=stage.count(State.TO_DO),
                already_done=stage.count(State.DONE),
                already_skipped=stage.count(State.SKIPPED),
                already_failed=stage.count(State.FAILED),
                blocked=stage.count(State.BLOCKED),
            )
            for name, stage in plan.stages.items()
        },
    )


def _execute(
    prepared: Prepared,
    store: Store,
    summary: RunSummary,
    engine: str,
    workers: int,
    address: str | None,
    observer: RunObserver,
) -> None:
    plan = prepared.plan
    tasks = make_tasks(plan, prepared.media, store, workers or _CLUSTER_WORKERS)
    job = make_job(
        plan.recipe,
        store=store.files.root,
        run=summary.run,
        workers=workers,
        address=address,
        metadata=_metadata(plan.recipe),
    )
    observer.begin(tasks, passes=len(job.groups), decodes=graph.decodes(plan.recipe.stages))
    try:
        registry.engine(engine)(job, tasks, observer)
    finally:
        observer.end()


def _metadata(recipe: Recipe) -> dict[str, dict[str, str]]:
    """What each stage's Parquet files say of how they were made."""
    libraries = {}
    for name in _LIBRARIES:
        try:
            libraries[name] = version(name)
        except ImportError:
            continue
    return {
        name: {
            "wanprep.schema": str(SCHEMA_VERSION),
            "wanprep.spec": canonical_json(spec),
            "wanprep.libraries": canonical_json(libraries),
        }
        for name, spec in recipe.specs.items()
    }

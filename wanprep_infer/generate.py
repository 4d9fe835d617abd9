"""A job from end to end: clips x prompts x seeds as requests, what is there already, an engine for the rest."""

from __future__ import annotations

import dataclasses
import os
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wanprep.engine.progress import Reporter as Phases
from wanprep.engine.progress import silent as silent_phases
from wanprep.errors import WanprepError
from wanprep.models.progress import heard_by
from wanprep.models.registry import entries
from wanprep.store.clip import StoredClip
from wanprep.store.store import Store
from wanprep_infer.generators.registry import engine, engines, generator
from wanprep_infer.jobs.clips import ALL, choose_clips
from wanprep_infer.jobs.job import GenerationJob, Outcome
from wanprep_infer.jobs.log import GenerationLog
from wanprep_infer.jobs.making import already
from wanprep_infer.jobs.plan import Common, make_requests
from wanprep_infer.jobs.request import Request
from wanprep_infer.jobs.summary import GenerationSummary
from wanprep_infer.jobs.usage import check_usage, checked_settings
from wanprep_infer.load_options import Options
from wanprep_infer.models.model_size import tiny_note
from wanprep_infer.output import side_car
from wanprep_infer.progress import Reporter, silent


def generate(
    kind: str,
    *,
    store: str | os.PathLike[str],
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    clips: str | Iterable[str] = ALL,
    texts_of: str | Iterable[str] = (),
    seeds: Sequence[int] = (0,),
    settings: Mapping[str, Any] | None = None,
    options: Options | None = None,
    sound: bool = True,
    force: bool = False,
    engine_name: str = "auto",
    workers: int | None = None,
    address: str | None = None,
    progress: Reporter | None = None,
    phases: Phases | None = None,
    log_file: str | os.PathLike[str] | None = None,
    seconds_per_step: float = 3_600.0,
) -> GenerationSummary:
    """Makes the videos that `out` does not hold yet, one for each clip, prompt and seed.

    Args:
        kind: `animate`, `s2v`, or a plug-in's generator.
        store: what `wanprep run` has made.
        model: a folder, a registered name or a hub id of the generator's checkpoint.
        out: a local folder for videos and their side-cars; made when it is not there.
        clips: ids, beginnings of ids, patterns, or `all`.
        texts_of: clips of the store whose prompts are used, all of them with each clip; none: each clip's own.
        seeds: 0 to 2**63 - 1.
        settings: fields of the generator's settings; defaults for the rest.
        options: device, precision, memory and LoRAs.
        sound: put the clips' sound into the videos.
        force: make again what is there.
        engine_name: `inline` (this process), `ray`, a plug-in's engine, or `auto`.
        workers: generations at a time; None takes one a GPU.
        address: a Ray cluster to run on.
        progress: hears of denoising steps; None is silent.
        phases: hears of large files being read; None is silent.
        log_file: events are appended to it, a JSON object a line.
        seconds_per_step: a step that takes longer counts as stuck, and its worker is ended; not with inline.

    Returns:
        What became of each generation. A clip that does not fit and a generation that fails are no errors.

    Raises:
        UsageError: bad clips, settings or options, or no such model.
        StoreError: the store cannot be read.
        WanprepError: the model is damaged, or `out` cannot be written.
    """
    progress, phases = progress or silent(), phases or silent_phases()
    options = options or Options()
    chosen = generator(kind)
    checked = checked_settings(kind, settings or {})
    folder = check_usage(
        out=out, seeds=seeds, options=options, engine_name=engine_name, workers=workers, address=address
    )
    opened = Store.open(os.fspath(store))
    picked = choose_clips(opened, clips)
    texts: list[StoredClip | None] = [*choose_clips(opened, texts_of, "--text-of")] or [None]
    with heard_by(phases.phase):
        facts = chosen.model(os.fspath(model))
        loras = _loras(options.loras)
    common = Common(
        generator=chosen,
        settings=checked,
        memory=options.memory,
        models=facts.digests,
        loras=loras,
        precision=options.precision,
        sound=sound,
    )
    requests, unmade = make_requests(opened, picked, texts, seeds, common)
    there = [] if force else _there(folder, requests)
    done = {(outcome.clip_id, outcome.key) for outcome in there}
    to_do = [request for request in requests if (request.clip_id, request.key) not in done]
    run = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}{secrets.token_hex(2)}"
    job = GenerationJob(
        run=run,
        generator=kind,
        store=opened.files.root,
        out=str(folder),
        model=_absolute(os.fspath(model)),
        settings=checked.model_dump(mode="json"),
        options=options.model_copy(update={"loras": tuple(_absolute_lora(text) for text in options.loras)}),
        parameters=facts.parameters,
        sound=sound,
        force=force,
        workers=workers or 0,
        address=address,
        seconds_per_step=seconds_per_step,
    )
    name = _choose(engine_name, len(to_do), options, workers, address)
    summary = GenerationSummary(
        run=run,
        generator=kind,
        store=job.store,
        out=job.out,
        model=job.model,
        engine=name,
        workers=1 if name == "inline" else job.workers,
        note=tiny_note(facts.parameters),
    )
    _execute(job, to_do, [*unmade, *there], summary, progress, log_file)
    return summary


def _execute(
    job: GenerationJob,
    to_do: Sequence[Request],
    before: Sequence[Outcome],
    summary: GenerationSummary,
    progress: Reporter,
    log_file: str | os.PathLike[str] | None,
) -> None:
    log = GenerationLog(job.run)
    with log.to_file(Path(log_file) if log_file is not None else None):
        log.job_start(summary, len(to_do))
        planned = {(request.clip_id, request.key): request.segments * request.steps for request in to_do}
        hears = _Hears(summary, progress, log, planned)
        for outcome in before:
            hears.outcome(outcome)
        progress.job(len(to_do), sum(planned.values()))
        try:
            if to_do:
                _make_folder(Path(job.out))
                engine(summary.engine)(job, to_do, hears)
            summary.end("finished")
        except BaseException as error:
            summary.end("stopped" if isinstance(error, KeyboardInterrupt) else "error")
            log.job_end(summary, error)
            raise
        finally:
            progress.close()
        log.job_end(summary, None)


class _Hears:
    """The listener of a job."""

    def __init__(
        self,
        summary: GenerationSummary,
        progress: Reporter,
        log: GenerationLog,
        planned: Mapping[tuple[str, str], int],
    ) -> None:
        self._summary, self._log, self._planned = summary, log, planned
        self.progress = progress

    def outcome(self, outcome: Outcome) -> None:
        self._summary.add([outcome])
        self._log.outcome(outcome)
        steps = self._planned.get((outcome.clip_id, outcome.key or ""))
        if steps is not None:
            self.progress.settled(steps, outcome.trouble)


def _there(folder: Path, requests: Sequence[Request]) -> list[Outcome]:
    found = ((request, side_car.read_whole(folder, request)) for request in requests)
    return [already(folder, request, document) for request, document in found if document is not None]


def _loras(given: Sequence[str]) -> list[tuple[str, float]]:
    from wanprep_infer.lora import Lora

    parsed = [Lora.parse(text) for text in given]
    return [(lora.digest(), lora.scale) for lora in parsed]


def _absolute(name: str) -> str:
    """A model's path for processes that run elsewhere; names stay."""
    path = os.path.expanduser(name)
    return name if name in entries() or not os.path.exists(path) else os.path.abspath(path)


def _absolute_lora(text: str) -> str:
    from wanprep_infer.lora import Lora

    lora = Lora.parse(text)
    return str(dataclasses.replace(lora, path=os.path.abspath(os.path.expanduser(lora.path))))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WanprepError(f"{folder}: cannot be made ({error.strerror})") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WanprepError(f"{folder}: cannot be written; give it rights, or take another --out")
    side_car.sweep(folder)


def _choose(name: str, to_do: int, options: Options, workers: int | None, address: str | None) -> str:
    """Inline with one GPU or none; Ray for several, for several workers, or when an address is given."""
    if name != "auto":
        return name
    if address:
        return "ray"
    if to_do < 2 or "ray" not in engines() or options.memory.parallel != "none":
        return "inline"
    if workers is not None:
        return "ray" if workers > 1 else "inline"
    return "ray" if options.device != "cpu" and _gpus() > 1 else "inline"


def _gpus() -> int:
    try:
        import torch
    except ImportError:
        return 0
    return torch.cuda.device_count()

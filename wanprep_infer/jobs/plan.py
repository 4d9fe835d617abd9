"""From clips, prompts and seeds to requests: keys are made from the store alone, no model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from wanprep.engine.steps import one_line
from wanprep.errors import StoreError, UsageError
from wanprep.key import config_fields
from wanprep.store import layout
from wanprep.store.clip import MissingArtifact, StoredClip
from wanprep.store.store import Store
from wanprep_infer.conditioning.source_files import digest_of
from wanprep_infer.conditioning.unfit import UnfitConditioning
from wanprep_infer.generators.protocol import Generator
from wanprep_infer.jobs.clips import with_text_of
from wanprep_infer.jobs.job import Outcome
from wanprep_infer.jobs.request import Request, made_from

_MAX_SEED = 2**63 - 1  # what torch's generators take on every device


def check_seeds(seeds: Sequence[int]) -> None:
    """Raises:
    UsageError: one is out of range.
    """
    for seed in seeds:
        if not 0 <= seed <= _MAX_SEED:
            raise UsageError(f"--seed {seed}: is out of range; give a number from 0 to {_MAX_SEED}")


@dataclass(frozen=True, kw_only=True)
class Common:
    """What of a job enters every key."""

    generator: Generator
    settings: BaseModel
    memory: BaseModel
    models: Mapping[str, str]  # part -> digest
    loras: Sequence[tuple[str, float]]  # digest, scale
    precision: str
    sound: bool = True  # whether videos are given the clips' sound


def make_requests(
    store: Store,
    clips: Sequence[StoredClip],
    texts: Sequence[StoredClip | None],
    seeds: Sequence[int],
    common: Common,
) -> tuple[list[Request], list[Outcome]]:
    """Requests for clips x prompts x seeds in this order, and outcomes of the clips that none can be made for.

    Args:
        texts: clips whose prompts are used; None is the clip's own.

    Raises:
        UsageError: a seed is out of range.
    """
    check_seeds(seeds)
    requests: dict[tuple[str, str], Request] = {}
    outcomes: list[Outcome] = []
    for clip in clips:
        for text in texts:
            text_of = None if text is None or text.id == clip.id else text.id
            try:
                made = _of_clip(store, clip, text if text_of else None, seeds, common)
            except Exception as error:
                outcomes.append(_not_made(error, clip.id, text_of))
                continue
            # The same prompt under two names is the same generation.
            for request in made:
                requests.setdefault((request.clip_id, request.key), request)
    return list(requests.values()), outcomes


def is_unfit(error: Exception) -> bool:
    """Whether an error says that a clip cannot be generated from, rather than that something broke."""
    return isinstance(error, UnfitConditioning | MissingArtifact)


def opened(store: Store, clip_id: str, text_of: str | None) -> StoredClip:
    """A clip by its id, with the prompt of another where one is named."""
    clip = store.clip(layout.checked(clip_id))
    return clip if text_of is None else with_text_of(store, clip, store.clip(layout.checked(text_of)))


def _of_clip(
    store: Store, clip: StoredClip, text: StoredClip | None, seeds: Sequence[int], common: Common
) -> list[Request]:
    if clip.record.why_not:
        raise StoreError(clip.record.why_not)
    layout.checked(clip.id)  # it becomes a file's name
    generator, settings = common.generator, common.settings
    conditioning = generator.conditioning(clip if text is None else with_text_of(store, clip, text), settings)
    work = generator.work(conditioning, settings)
    sound = generator.sound(store, clip, conditioning, settings) if common.sound else None
    fields = config_fields(settings)
    keyed = {name: value for name, value in fields.items() if name not in generator.unkeyed}
    return [
        Request(
            clip_id=clip.id,
            mode=generator.mode(settings),
            seed=seed,
            text_of=None if text is None else text.id,
            segments=work.segments,
            steps=work.steps,
            made_from=made_from(
                generator=generator.name,
                version=generator.version,
                keys=conditioning.keys,
                models=common.models,
                loras=common.loras,
                settings=keyed,
                seed=seed,
                precision=common.precision,
                memory=common.memory,
                frames=work.frames,
                sound=None if sound is None else (digest_of(clip.record, sound.uri) or sound.uri, sound),
            ),
        )
        for seed in seeds
    ]


def _not_made(error: Exception, clip_id: str, text_of: str | None) -> Outcome:
    why = one_line(error).removeprefix(f"clip {clip_id}: ")
    state: Any = "skipped" if is_unfit(error) else "failed"
    return Outcome(state=state, clip_id=clip_id, text_of=text_of, why=why)

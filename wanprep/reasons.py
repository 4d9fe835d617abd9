"""Why a key is missing: compares what determines it now with what did when the clip was last seen."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from schemas import ClipRecord
from wanprep.graph import upstream
from wanprep.stage import Media
from wanprep.states import State
from wanprep.store.store import Store

if TYPE_CHECKING:
    from wanprep.plan import Plan


def explain(plan: Plan, store: Store) -> None:
    """Counts the reasons of everything that is to do into each stage's `reasons`."""
    if not plan.count(State.TO_DO):
        return
    before = {clip.clip_id: clip for clip in store.clip_records()}
    documents: dict[str, Mapping[str, Any]] = {}
    now = plan.recipe.to_document()
    inputs = _all_inputs(plan)
    own = {stage.name: stage.reads for stage in plan.recipe.stages}
    reads = {name: own[name].union(*(own[below] for below in inputs[name])) for name in own}
    compared: dict[tuple[str, str], str] = {}
    for stage in plan.recipe.stages:
        stage_plan = plan.stages[stage.name]
        for index in np.flatnonzero(stage_plan.states == State.TO_DO):
            clip = plan.clips[int(index)]
            last = before.get(clip.clip_id)
            if last is None:
                stage_plan.reasons["new clip"] += 1
                continue
            if last.recipe not in documents:
                documents[last.recipe] = store.recipe_document(last.recipe) or {}
            reason = _clip_reason(clip, last, stage.name, reads[stage.name])
            if reason is None:
                pair = (last.recipe, stage.name)
                if pair not in compared:
                    compared[pair] = _recipe_reason(
                        documents[last.recipe], now, stage.name, inputs[stage.name]
                    )
                reason = compared[pair]
            stage_plan.reasons[reason] += 1


def _all_inputs(plan: Plan) -> dict[str, list[str]]:
    """Each stage's inputs, and theirs."""
    present = [stage.name for stage in plan.recipe.stages]
    result: dict[str, list[str]] = {}
    for stage in plan.recipe.stages:
        direct = upstream(stage, present)
        result[stage.name] = sorted({*direct, *(name for below in direct for name in result[below])})
    return result


def _clip_reason(now: ClipRecord, last: ClipRecord, stage: str, reads: Collection[Media]) -> str | None:
    """What about the clip itself changed, of that which the stage and its inputs read."""
    if last.keys.get(stage) == now.keys[stage]:
        return "not finished before"
    timed = Media.VIDEO in reads or Media.AUDIO in reads
    if timed and now.video_digest != last.video_digest:
        return "video changed"
    if Media.AUDIO in reads and now.audio_digest != last.audio_digest:
        return "audio changed"
    looked_at = Media.REFERENCE in reads or (Media.REFERENCE_ALONE in reads and now.video is None)
    if looked_at and now.reference_digest != last.reference_digest:
        return "reference changed"
    if last.why_not is not None:
        return "the clip could not be used before"
    if Media.PROMPT in reads and now.prompt != last.prompt:
        return "prompt changed"
    given = (now.caption, now.caption_error)
    if Media.CAPTION in reads and given != (last.caption, last.caption_error):
        return "given caption changed"
    if Media.SUBJECT in reads and now.subject != last.subject:
        return f"subject changed: {_short(last.subject)} -> {_short(now.subject)}"
    if not timed:
        return None
    if now.fps != last.fps:
        return f"timeline.fps changed: {_short(last.fps)} -> {_short(now.fps)}"
    if (now.start, now.end, now.frames) != (last.start, last.end, last.frames):
        return "start, end or frame count changed"
    return None


def _recipe_reason(last: Mapping[str, Any], now: Mapping[str, Any], stage: str, inputs: Sequence[str]) -> str:
    old_stages, new_stages = last.get("stages", {}), now["stages"]
    if stage not in old_stages:
        return "new stage"
    old, new = old_stages[stage], new_stages[stage]
    if changes := _changes(old.get("config", {}), new["config"]):
        return "config changed: " + ", ".join(changes)
    if changes := _changes(old.get("models", {}), new["models"]):
        return "model changed: " + ", ".join(changes)
    for what in ("version", "schema"):
        if old.get(what) != new[what]:
            return f"{what} changed: {old.get(what)} -> {new[what]}"
    changed = [name for name in inputs if old_stages.get(name) != new_stages.get(name)]
    if changed:
        return "upstream changed: " + ", ".join(changed)
    gone = [name for name in old_stages if name not in new_stages]
    if gone:
        return "upstream left out: " + ", ".join(gone)
    return "upstream changed"


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> list[str]:
    changes: list[str] = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            changes += _changes(before, after, f"{path}{name}.")
        elif before != after:
            changes.append(f"{path}{name} {_short(before)} -> {_short(after)}")
    return changes


def _short(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."

"""Writes down the clips of a plan: their rows, the recipe they name, and why unusable ones are so."""

from __future__ import annotations

from dataclasses import replace

from schemas import ClipRecord, OutcomeRecord
from wanprep.key import canonical_json, clip_key
from wanprep.plan import Plan
from wanprep.store import layout
from wanprep.store.store import Store


def enrol(plan: Plan, store: Store, run: str, now_ns: int) -> list[ClipRecord]:
    """Commits the rows that are new or changed; returns the clips that failed before any stage."""
    recipe_file = f"{layout.RECIPES}/{plan.recipe.digest}.json"
    if not store.files.exists(recipe_file):
        store.files.write_bytes(recipe_file, canonical_json(plan.recipe.to_document()).encode())
    before = {clip.clip_id: clip for clip in store.clip_records()}
    changed: list[ClipRecord] = []
    for clip in [*plan.clips, *plan.unusable]:
        last = before.get(clip.clip_id)
        if last is None or replace(last, created_ns=0) != clip:
            # Readers take the newest row, and the clock may have been put back since the last one.
            changed.append(replace(clip, created_ns=max(now_ns, last.created_ns + 1 if last else 0)))
    if changed:
        identity = [f"{clip.clip_id} {clip.recipe} {now_ns}" for clip in changed]
        store.write_rows(layout.CLIPS, ClipRecord, changed, identity)
    outcomes = [_outcome(clip, run, now_ns) for clip in plan.unusable]
    known = {row.key for row in store.outcomes()} if outcomes else set()
    if fresh := [row for row in outcomes if row.key not in known]:
        store.write_rows(layout.OUTCOMES, OutcomeRecord, fresh, [run, "clips"])
    return [clip for clip in plan.unusable if not clip.frames]


def _outcome(clip: ClipRecord, run: str, now_ns: int) -> OutcomeRecord:
    """A clip with frames but too few is skipped; one that cannot be read failed."""
    short = clip.frames > 0
    return OutcomeRecord(
        key=clip_key(clip),
        stage="clip",
        clip_id=clip.clip_id,
        outcome="skipped" if short else "failed",
        reason=clip.why_not if short else None,
        value=float(clip.frames) if short else None,
        cause=None if short else clip.why_not,
        run=run,
        created_ns=now_ns,
    )

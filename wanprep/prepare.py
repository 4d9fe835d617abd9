"""From what the user named to a plan: inputs, scan, clips, keys, what is missing."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from schemas import MediaRecord
from wanprep.clip import make_clips
from wanprep.errors import StoreError, UsageError
from wanprep.inputs import Inputs
from wanprep.plan import Plan, make_plan
from wanprep.recipe import Recipe
from wanprep.scan import media_of, scan
from wanprep.store import layout
from wanprep.store.store import Store

Source = str | os.PathLike[str]
#: phase, done, total
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Prepared:
    inputs: Inputs
    media: dict[str, MediaRecord]
    plan: Plan


def check_available(recipe: Recipe) -> None:
    """Refuses a recipe whose stages cannot run here.

    Raises:
        UsageError: names the stage and what would enable it.
    """
    for stage in recipe.stages:
        if problem := stage.unavailable():
            raise UsageError(
                f"stages.{stage.name}: {problem} (or leave it out with --set, see `wanprep doctor`)"
            )


def prepare(
    inputs: Inputs,
    recipe: Recipe,
    store: Store | None,
    *,
    retry_failed: bool = False,
    progress: Progress = lambda phase, done, total: None,
) -> Prepared:
    """Looks at the inputs and plans. What the scan found is kept in the store, if there is one.

    Raises:
        UsageError: two clips have one id.
    """
    known = store.media_records() if store else {}
    media, fresh = scan(media_of(inputs.clips), known, lambda done, total: progress("scan", done, total))
    if store is not None and fresh:
        identity = [f"{row.uri} {row.size} {row.modified_ns}" for row in fresh]
        # A plan on a store that may only be read is still a plan.
        with contextlib.suppress(StoreError):
            store.write_rows(layout.MEDIA, MediaRecord, fresh, identity)
    clips = list(make_clips(inputs.clips, media, recipe.timeline, recipe.digest))
    ids = Counter(clip.clip_id for clip in clips)
    if repeated := [name for name, count in ids.items() if count > 1]:
        raise UsageError(
            f"a piece of a split video and another clip have the id '{repeated[0]}': rename that clip"
        )
    return Prepared(inputs, media, make_plan(recipe, clips, store, retry_failed=retry_failed))

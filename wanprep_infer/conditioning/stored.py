"""Artifacts that a generation cannot do without."""

from __future__ import annotations

from typing import Any

from wanprep.store.clip import MissingArtifact, StoredClip
from wanprep_infer.conditioning.unfit import UnfitConditioning


def required(clip: StoredClip, stage: str, preset: str) -> Any:
    """The record of a stage.

    Args:
        preset: the recipe that makes everything the generation takes, which the error names.

    Raises:
        UnfitConditioning: there is none; says why: skipped with the reason, failed with the cause, never made.
        StoreError: a shard is missing or damaged.
    """
    try:
        return getattr(clip, stage)
    except MissingArtifact as error:
        # What was tried and did not come about would not the next time either.
        how = "mend that and prepare the clip" if stage in clip.record.keys else "prepare the clip"
        raise UnfitConditioning(f"{error}; generation takes it: {how} with --preset {preset}") from error

"""One clip of a store, with its artifacts as attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schemas import ClipRecord
from wanprep.errors import StoreError
from wanprep.hints import did_you_mean

if TYPE_CHECKING:
    from wanprep.store.store import Store


class MissingArtifact(StoreError, AttributeError):
    """The clip has no such artifact; the message says why."""


class StoredClip:
    """`clip.skeleton` is the typed record of that stage, read when asked for; `clip.record` is the clip's row.

    A stage that was skipped, failed or never ran raises `MissingArtifact`, which says so.
    """

    def __init__(self, store: Store, record: ClipRecord) -> None:
        self._store = store
        self.record = record

    @property
    def id(self) -> str:
        return self.record.clip_id

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages of the clip's recipe."""
        return tuple(sorted(self.record.keys))

    def get(self, stage: str) -> Any:
        """The artifact of a stage, or None when there is none."""
        key = self.record.keys.get(stage)
        return None if key is None else self._store.artifact(stage, key)

    def __getattr__(self, stage: str) -> Any:
        if stage.startswith("_"):
            raise AttributeError(stage)
        found = self.get(stage)
        if found is not None:
            return found
        key = self.record.keys.get(stage)
        if key is None:
            if self.record.why_not:
                raise MissingArtifact(f"clip {self.id}: {self.record.why_not}")
            hint = did_you_mean(stage, self.record.keys, 0.75)
            raise MissingArtifact(f"clip {self.id}: its recipe has no stage '{stage}'{hint}")
        outcome = self._store.outcome(key)
        if outcome is None:
            raise MissingArtifact(f"clip {self.id}: {stage} is not made yet; run the recipe again")
        if outcome.outcome == "skipped":
            value = "" if outcome.value is None else f" ({outcome.value:g})"
            raise MissingArtifact(f"clip {self.id}: {stage} was skipped: {outcome.reason}{value}")
        raise MissingArtifact(f"clip {self.id}: {stage} failed: {outcome.cause}")

    def __repr__(self) -> str:
        return f"<clip {self.id}: {self.record.frames} frames, {', '.join(self.stages)}>"

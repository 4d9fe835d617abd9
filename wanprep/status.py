"""What a store holds, by stage: the newest recipe of each clip against its artifacts and outcomes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from schemas import OutcomeRecord
from wanprep.key import clip_key
from wanprep.store.index import load_outcomes
from wanprep.store.store import Store


@dataclass
class StageStatus:
    done: int = 0
    skipped: int = 0
    failed: int = 0
    missing: int = 0  # not made yet


@dataclass
class Status:
    """Counts of clips. `failures` are the newest, `reasons` counts those of what was skipped."""

    clips: int = 0
    unusable: int = 0
    frames: int = 0
    stages: dict[str, StageStatus] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    failures: list[OutcomeRecord] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "clips": self.clips,
            "unusable": self.unusable,
            "frames": self.frames,
            "stages": {name: vars(stage) for name, stage in self.stages.items()},
            "skipped_reasons": dict(self.reasons),
            "failures": [
                {"clip_id": row.clip_id, "stage": row.stage, "cause": row.cause} for row in self.failures
            ],
        }


def status(store: Store) -> Status:
    """Counts done, skipped, failed and missing artifacts of all clips."""
    result = Status()
    wanted: dict[str, list[str]] = {}
    unusable: set[str] = set()
    for clip in store.clip_records():
        result.clips += 1
        if clip.why_not is not None:
            result.unusable += 1
            unusable.add(clip_key(clip))
        result.frames += clip.frames
        for stage, key in clip.keys.items():
            wanted.setdefault(stage, []).append(key)
    table = load_outcomes(store.files)
    newest: dict[str, OutcomeRecord] = {}
    for row in table.to_pylist() if table is not None else ():
        newest.setdefault(row["key"], OutcomeRecord.from_row(row))
    for stage, keys in sorted(wanted.items()):
        counts = result.stages[stage] = StageStatus()
        rows = store.index(stage).rows(keys)
        counts.done = int((rows >= 0).sum())
        for position in (rows < 0).nonzero()[0]:
            outcome = newest.get(keys[int(position)])
            if outcome is None:
                counts.missing += 1
            elif outcome.outcome == "skipped":
                counts.skipped += 1
                result.reasons[f"{stage}: {outcome.reason}"] += 1
            else:
                counts.failed += 1
                result.failures.append(outcome)
    # A file that was mended since is not reported any more.
    result.failures += [row for key, row in newest.items() if key in unusable and row.outcome == "failed"]
    return result

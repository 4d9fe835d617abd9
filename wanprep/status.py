"""What a store holds, by stage: the newest recipe of each clip against its artifacts and outcomes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas import ClipRecord, OutcomeRecord
from wanprep.key import clip_key
from wanprep.store import layout
from wanprep.store.index import load_outcomes
from wanprep.store.store import Store
from wanprep.store.warned import stored_warnings
from wanprep.summary import Warned


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
    warnings: list[Warned] = field(default_factory=list)  # of all that is done

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
            "warnings": [row.model_dump() for row in self.warnings],
        }


def status(store: Store) -> Status:
    """Counts done, skipped, failed and missing artifacts of all clips, and lists what their records warn of. Whole
    columns at a time: a million clips as Python objects would take ten times the memory and time."""
    result = Status()
    table = store.table(layout.CLIPS)
    if table is None:
        return result
    newest = newest_rows(table)
    clips = table.select(["clip_id", "frames", "keys"]).filter(newest)
    result.clips = len(clips)
    result.frames = int(pc.sum(clips["frames"], min_count=0).as_py())
    unusable = table.filter(pc.and_(newest, pc.is_valid(table["why_not"])))
    result.unusable = len(unusable)
    outcomes = load_outcomes(store.files)
    for stage, keys in _keys_by_stage(clips):
        counts = result.stages[stage] = StageStatus()
        rows = store.index(stage).rows(keys)
        counts.done = int((rows >= 0).sum())
        _count_ends(stage, keys.filter(pa.array(rows < 0)), outcomes, counts, result)
        result.warnings += [
            Warned(clip_id=clip, stage=stage, warning=text)
            for clip, text in stored_warnings(store.files, stage, clips)
        ]
    if outcomes is not None and len(unusable):
        # A file that was mended since is not reported any more.
        keys = pa.array([clip_key(ClipRecord.from_row(row)) for row in unusable.to_pylist()], pa.string())
        ends = _newest_ends(keys, outcomes)
        result.failures += _records(ends.filter(pc.equal(ends["outcome"], "failed")))
    return result


def newest_rows(clips: pa.Table) -> pa.Array:
    """Whether each row is the newest of its clip, as booleans."""
    ids = clips["clip_id"]
    unique = pc.unique(ids)
    clip_of_row = np.asarray(pc.index_in(ids, value_set=unique))
    by_age = np.argsort(np.asarray(clips["created_ns"]), kind="stable")
    newest = np.empty(len(unique), np.int64)
    newest[clip_of_row[by_age]] = by_age  # of a clip's rows the last one stays
    chosen = np.zeros(len(clips), dtype=bool)
    chosen[newest] = True
    return pa.array(chosen)


def _keys_by_stage(clips: pa.Table) -> list[tuple[str, pa.Array]]:
    names: list[pa.Array] = []
    keys: list[pa.Array] = []
    for chunk in clips["keys"].chunks:
        if len(chunk):
            first, last = chunk.offsets[0].as_py(), chunk.offsets[-1].as_py()
            names.append(chunk.keys.slice(first, last - first))
            keys.append(chunk.items.slice(first, last - first))
    all_names, all_keys = pa.chunked_array(names, pa.string()), pa.chunked_array(keys, pa.string())
    return [
        (
            stage,
            pa.concat_arrays(
                all_keys.filter(pc.equal(all_names, stage)).chunks or [pa.array([], pa.string())]
            ),
        )
        for stage in sorted(pc.unique(all_names).to_pylist())
    ]


def _newest_ends(keys: pa.Array, outcomes: pa.Table) -> pa.Table:
    """The newest outcome of each key that has one; a key that is given twice counts twice."""
    rows = pc.index_in(keys, value_set=outcomes["key"])  # newest first, and the first match counts
    return outcomes.take(rows.drop_null())


def _count_ends(
    stage: str, keys: pa.Array, outcomes: pa.Table | None, counts: StageStatus, result: Status
) -> None:
    if outcomes is None or not len(keys):
        counts.missing = len(keys)
        return
    ends = _newest_ends(keys, outcomes)
    skipped = pc.equal(ends["outcome"], "skipped")
    reasons = ends.filter(skipped)["reason"]
    failures = ends.filter(pc.invert(skipped))
    counts.missing, counts.skipped, counts.failed = len(keys) - len(ends), len(reasons), len(failures)
    for entry in pc.value_counts(reasons).to_pylist():
        result.reasons[f"{stage}: {entry['values']}"] += entry["counts"]
    result.failures += _records(failures)


def _records(outcomes: pa.Table) -> list[OutcomeRecord]:
    return [OutcomeRecord.from_row(row) for row in outcomes.to_pylist()]

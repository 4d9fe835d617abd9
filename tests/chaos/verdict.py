"""What became of a store after faults and a rerun, against a store that nothing disturbed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from disturbed import RECIPE

import wanprep
from schemas.tensor import TENSOR, TensorRef
from wanprep.store import Store, layout
from wanprep.store.verify import verify

Key = tuple[str, str]  # stage and key


@dataclass
class Verdict:
    """Counts after the rerun, by key; `wrong` says what is not as it should be."""

    reruns: int = 0
    lost: int = 0
    twice: int = 0
    left: int = 0
    problems: int = 0
    wrong: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Nothing lost, nothing left behind, nothing wrong; what is there twice is equal."""
        assert not self.wrong, "\n".join(self.wrong)
        assert (self.lost, self.left, self.problems) == (0, 0, 0)


def copies(folder: Path) -> dict[Key, list[dict[str, Any]]]:
    """Every row of every artifact file, its tensors as (dtype, shape, bytes)."""
    store = Store.open(str(folder))
    found: dict[Key, list[dict[str, Any]]] = {}
    for stage in store.files.folders(layout.ARTIFACTS):
        base = layout.artifact_folder(stage)
        for name in store.files.names(base, ".parquet"):
            table = store.files.read_table(name)
            tensors = {column.name for column in table.schema if column.type == TENSOR}
            for row in table.to_pylist():
                for column in tensors:
                    if row[column] is not None:
                        array = store.tensor(TensorRef.from_cell(row[column]), base)
                        data = np.ascontiguousarray(array).tobytes()
                        row[column] = (str(array.dtype), array.shape, data)
                found.setdefault((stage, row["key"]), []).append(row)
    return found


def rerun_and_compare(videos: Path, store: Path, undisturbed: Path) -> Verdict:
    """Runs the job undisturbed until it has nothing to do, then compares."""
    verdict = Verdict()
    while not wanprep.run(videos, store=store, preset=RECIPE, engine="inline").nothing_to_do:
        verdict.reruns += 1
        if verdict.reruns > 2:
            verdict.wrong.append("the job never comes to its end")
            break
    wanted, found = copies(undisturbed), copies(store)
    verdict.lost = len(wanted.keys() - found.keys())
    if unknown := found.keys() - wanted.keys():
        verdict.wrong.append(f"keys that nobody asked for: {sorted(unknown)}")
    verdict.twice = sum(len(rows) > 1 for rows in found.values())
    for key in wanted.keys() & found.keys():
        if any(row != wanted[key][0] for row in found[key]):
            verdict.wrong.append(f"{key}: another content than undisturbed")
    report = verify(Store.open(str(store)))
    verdict.problems, verdict.left = len(report.problems), len(report.temporaries)
    verdict.wrong += report.problems + report.temporaries
    if report.missing:
        verdict.wrong.append(f"verify: {report.missing} artifacts are missing")
    failed = (row for row in Store.open(str(store)).outcomes() if row.outcome == "failed")
    verdict.wrong += [f"{row.clip_id}: {row.stage} failed: {row.cause}" for row in failed]
    _compare_clips(store, undisturbed, verdict)
    return verdict


def _compare_clips(store: Path, undisturbed: Path, verdict: Verdict) -> None:
    """Readers find each clip once, with the keys of the last run, and each artifact."""
    listed, wanted = ([*wanprep.open(str(folder)).clips()] for folder in (store, undisturbed))
    ours, theirs = ({clip.id: clip for clip in clips} for clips in (listed, wanted))
    if [clip.id for clip in listed] != [clip.id for clip in wanted]:
        verdict.wrong.append(f"clips {[clip.id for clip in listed]}, not {sorted(theirs)}")
    for name in ours.keys() & theirs.keys():
        if dict(ours[name].record.keys) != dict(theirs[name].record.keys):
            verdict.wrong.append(f"clip {name}: its newest row has not the last run's keys")
        elif any(ours[name].get(stage) is None for stage in ours[name].stages):
            verdict.wrong.append(f"clip {name}: a reader does not find all of it")

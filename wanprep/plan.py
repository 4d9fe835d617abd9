"""What is missing and why: recipe x clips -> keys that the store does not hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas import ClipRecord
from wanprep import graph
from wanprep.key import KeyMaker
from wanprep.reasons import explain
from wanprep.recipe import Recipe
from wanprep.stage import Stage
from wanprep.states import State
from wanprep.store.index import load_outcomes
from wanprep.store.store import Store


@dataclass(frozen=True)
class StagePlan:
    """One stage over all usable clips. `states` is uint8 [clips], `rows` the index row of what is done."""

    stage: str
    keys: list[str]
    states: npt.NDArray[np.uint8]
    rows: npt.NDArray[np.int64]
    reasons: Counter[str] = field(default_factory=Counter)

    def count(self, state: State) -> int:
        return int(np.count_nonzero(self.states == state))


@dataclass(frozen=True)
class Plan:
    """`clips` are usable and carry their keys; `unusable` have `why_not`."""

    recipe: Recipe
    clips: list[ClipRecord]
    unusable: list[ClipRecord]
    stages: dict[str, StagePlan]

    @property
    def to_do(self) -> npt.NDArray[np.int64]:
        """Indices of the clips with anything to do."""
        work = np.zeros(len(self.clips), dtype=bool)
        for stage in self.stages.values():
            work |= stage.states == State.TO_DO
        return np.flatnonzero(work)

    def count(self, state: State) -> int:
        return sum(stage.count(state) for stage in self.stages.values())


def make_plan(
    recipe: Recipe, clips: Sequence[ClipRecord], store: Store | None, *, retry_failed: bool = False
) -> Plan:
    """Keys of all clips and their states in the store; `store` is None when there is none yet."""
    usable = [clip for clip in clips if clip.why_not is None]
    unusable = [clip for clip in clips if clip.why_not is not None]
    present = [stage.name for stage in recipe.stages]
    makers = {stage.name: KeyMaker(stage, graph.upstream(stage, present)) for stage in recipe.stages}
    columns: dict[str, list[str]] = {name: [] for name in present}
    keyed: list[ClipRecord] = []
    for clip in usable:
        keys: dict[str, str] = {}
        for name, maker in makers.items():
            keys[name] = maker.key(clip, keys)
            columns[name].append(keys[name])
        clip.keys.update(keys)
        keyed.append(clip)
    settled = _settled(store)
    plans: dict[str, StagePlan] = {}
    for stage in recipe.stages:
        name = stage.name
        wanted = pa.array(columns[name], pa.string())
        rows = store.index(name).rows(wanted) if store else np.full(len(keyed), -1, dtype=np.int64)
        states = np.where(rows >= 0, State.DONE, State.TO_DO).astype(np.uint8)
        for index in np.flatnonzero(states == State.TO_DO) if settled else ():
            outcome = settled.get(columns[name][index])
            if outcome is not None:
                states[index] = _state(outcome, retry_failed, plans, int(index))
        _block(states, stage, makers[name].upstream, plans, keyed)
        plans[name] = StagePlan(name, columns[name], states, rows)
    plan = Plan(recipe, keyed, unusable, plans)
    if store is not None:
        explain(plan, store)
    else:
        for stage_plan in plans.values():
            if count := stage_plan.count(State.TO_DO):
                stage_plan.reasons["new clip"] = count
    return plan


def _settled(store: Store | None) -> dict[str, Mapping[str, Any]]:
    """Newest outcome of each key."""
    table = load_outcomes(store.files) if store else None
    if table is None:
        return {}
    settled: dict[str, Mapping[str, Any]] = {}
    for row in table.select(["key", "outcome", "blocked_by"]).to_pylist():
        settled.setdefault(row["key"], row)
    return settled


def _state(
    outcome: Mapping[str, Any], retry_failed: bool, plans: Mapping[str, StagePlan], index: int
) -> State:
    if outcome["outcome"] == "skipped":
        return State.SKIPPED
    blocker = outcome["blocked_by"]
    if blocker is not None and blocker in plans:
        # It failed only because another stage did: it follows that stage's state now.
        return (
            State.TO_DO
            if plans[blocker].states[index] in (State.DONE, State.SKIPPED, State.TO_DO)
            else State.BLOCKED
        )
    return State.TO_DO if retry_failed else State.FAILED


def _block(
    states: npt.NDArray[np.uint8],
    stage: Stage[Any],
    upstream: tuple[str, ...],
    plans: Mapping[str, StagePlan],
    clips: Sequence[ClipRecord],
) -> None:
    for name in upstream:
        broken = np.isin(plans[name].states, (State.FAILED, State.BLOCKED))
        for index in np.flatnonzero(broken & (states == State.TO_DO)):
            if name not in stage.spares(clips[index]):
                states[index] = State.BLOCKED

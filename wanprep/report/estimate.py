"""How long and how large the rest will be, from the rates of the last run that did the same stage."""

from __future__ import annotations

import json
from dataclasses import dataclass

from wanprep.plan import Plan
from wanprep.states import State
from wanprep.store import layout
from wanprep.store.store import Store

_LOOK_BACK = 20  # runs


@dataclass(frozen=True, slots=True)
class Estimate:
    """Stage seconds on one worker, and bytes."""

    seconds: float
    nbytes: float

    def __str__(self) -> str:
        time = f"{self.seconds:.0f} s" if self.seconds < 120 else f"{self.seconds / 60:.0f} min"
        return f"{time}, {self.nbytes / 1e6:.1f} MB"


def estimates(plan: Plan, store: Store | None) -> dict[str, Estimate]:
    """By stage; stages that no run has measured are left out. Shared work (decoding, the person estimator) is
    spread over the stages that ran with it."""
    result: dict[str, Estimate] = {}
    if store is None:
        return result
    for name in sorted(store.files.names(layout.RUNS, ".json"), reverse=True)[:_LOOK_BACK]:
        try:
            run = json.loads(store.files.read_bytes(name))
            stages = {key: stage for key, stage in run["stages"].items() if stage["frames"]}
            shared = sum(run.get("shared_seconds", {}).values()) / max(len(stages), 1)
            for key, stage in stages.items():
                if key in plan.stages and key not in result:
                    todo = plan.stages[key].states == State.TO_DO
                    frames = sum(plan.clips[int(index)].frames for index in todo.nonzero()[0])
                    share = frames / stage["frames"]
                    result[key] = Estimate((stage["seconds"] + shared) * share, stage["nbytes"] * share)
        except (ValueError, KeyError, TypeError):
            continue
    return result

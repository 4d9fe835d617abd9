"""The attempts ledger: what ends a job whose clips kill their workers.

Ray Data runs the task of a dead worker again for as long as it takes, whatever its restart options say (measured
with Ray 2.60), so a clip that crashes its worker would keep the job busy for ever. Workers therefore tell this
actor what they are about to do, and it refuses what has killed a worker twice. It holds no CPU of the cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MAX_ATTEMPTS = (
    2  # one death may be bad luck (a killed node, another's memory); the same clip twice is the clip
)


@dataclass
class _Task:
    """A task that a worker has begun: the clip in hand, and deaths of workers that had none in hand."""

    clip: str | None = None
    strays: int = 0


class Ledger:
    """Counts attempts by operator number and clip id. Every call returns at once, so calls never queue up."""

    def __init__(self) -> None:
        self._set_ups: dict[tuple[int, str], int] = {}
        self._tasks: dict[tuple[int, int], _Task] = {}
        self._attempts: dict[tuple[int, str], int] = {}
        self._verdicts: dict[tuple[int, str], str] = {}
        self._frames = 0

    def begin_set_up(self, operator: int, worker: str) -> str | None:
        """Before a worker loads its models; a text says that it must not try again."""
        tried = self._set_ups.get((operator, worker), 0)
        self._set_ups[operator, worker] = tried + 1
        if tried >= MAX_ATTEMPTS:
            return f"the worker died {tried} times while it was being set up"
        return None

    def end_set_up(self, operator: int, worker: str) -> None:
        self._set_ups.pop((operator, worker), None)

    def begin_task(self, operator: int, task: int) -> str | None:
        """Before a task's first clip; a text refuses all its clips, since its worker died outside of them."""
        entry = self._tasks.get((operator, task))
        if entry is None:
            self._tasks[operator, task] = _Task()
            return None
        if entry.clip is None:
            entry.strays += 1
        entry.clip = None
        if entry.strays > MAX_ATTEMPTS:
            return f"the worker died {entry.strays} times between clips or while it wrote their artifacts"
        return None

    def end_task(self, operator: int, task: int, frames: int) -> None:
        """`frames` are those not yet told by `add_frames`."""
        self._tasks.pop((operator, task), None)
        self._frames += frames

    def start(self, operator: int, task: int, clip: str) -> str | None:
        """Before a clip is begun; a text refuses it, now and whenever it is asked for again."""
        key = (operator, clip)
        tried = self._attempts.get(key, 0)
        if key not in self._verdicts and tried >= MAX_ATTEMPTS:
            self._verdicts[key] = (
                "crashed the worker twice (a fault in native code, or no memory was left; see Ray's logs)"
            )
        if key in self._verdicts:
            return self._verdicts[key]
        self._attempts[key] = tried + 1
        if entry := self._tasks.get((operator, task)):
            entry.clip = clip
        return None

    def end(self, operator: int, task: int, clip: str) -> None:
        """After a clip, whatever became of it. A verdict stays: the clip comes back when its task is run again."""
        self._attempts.pop((operator, clip), None)
        if entry := self._tasks.get((operator, task)):
            entry.clip = None

    def time_out(self, operator: int, clip: str, cause: str) -> None:
        """From the watchdog, just before it ends the worker."""
        self._verdicts[operator, clip] = cause

    def add_frames(self, count: int) -> None:
        self._frames += count

    def polled(self) -> int:
        """Frames since it was last asked."""
        frames, self._frames = self._frames, 0
        return frames


def start_ledger() -> Any:
    """Starts the ledger on the driver's node, where it lives as long as the job does."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    # A restarted ledger has forgotten its counts, which costs some attempts more; losing it would cost the job.
    actor = ray.remote(Ledger).options(
        num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here
    )
    return actor.remote()

"""Where workers write down how far their generations are, and why they ended themselves."""

from __future__ import annotations

from typing import Any

#: Worker number, what happened, and its values: `begin` label, segments, steps; `step` count; `segment` frames; `end`.
Event = tuple[int, str, tuple[Any, ...]]


class Board:
    """An actor. Every call returns at once, so calls never queue up."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._verdicts: dict[str, str] = {}

    def tell(self, events: list[Event]) -> None:
        self._events += events

    def polled(self) -> list[Event]:
        """Events since it was last asked."""
        events, self._events = self._events, []
        return events

    def end(self, key: str, cause: str) -> None:
        """From a watchdog, just before it ends its worker: the generation of this key failed."""
        self._verdicts[key] = cause

    def verdict(self, key: str) -> str | None:
        return self._verdicts.get(key)


def start_board() -> Any:
    """Starts the board on the driver's node; it holds no CPU of the cluster."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    # A restarted board has forgotten what it was told, which is progress to look at and no more.
    actor = ray.remote(Board).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here)
    return actor.remote()

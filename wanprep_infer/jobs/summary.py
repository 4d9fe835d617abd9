"""What a job of generations did: shown at the end, and for scripts as JSON."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from wanprep_infer.jobs.job import Outcome, State

STATES: tuple[State, ...] = ("made", "already", "skipped", "failed")


@dataclass
class GenerationSummary:
    """A job from its beginning to its end."""

    run: str
    generator: str
    store: str
    out: str
    model: str
    engine: str = ""
    workers: int = 1
    note: str | None = None  # what to expect of this model
    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0
    state: str = "running"
    started: float = field(default_factory=time.monotonic, repr=False)

    def add(self, outcomes: Iterable[Outcome]) -> None:
        self.outcomes.extend(outcomes)

    def of(self, state: State) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.state == state]

    @property
    def made(self) -> list[Outcome]:
        return self.of("made")

    @property
    def failed(self) -> list[Outcome]:
        """What `--strict` refuses."""
        return self.of("failed")

    def end(self, state: str) -> None:
        self.state, self.seconds = state, time.monotonic() - self.started

    def to_json(self) -> dict[str, Any]:
        document = asdict(self)
        del document["started"]
        return {**document, "counts": {state: len(self.of(state)) for state in STATES}}

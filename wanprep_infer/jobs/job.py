"""A job of generations as plain data, what becomes of each of them, and who runs and hears of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from wanprep_infer.jobs.request import Request
from wanprep_infer.load_options import Options
from wanprep_infer.progress import Reporter

State = Literal["made", "already", "skipped", "failed"]


@dataclass(frozen=True, kw_only=True)
class GenerationJob:
    """What all generations of a job share. It travels to other processes."""

    run: str  # its id
    generator: str
    store: str
    out: str
    model: str
    settings: dict[str, Any]
    options: Options
    parameters: int = 0  # of the model's transformer
    sound: bool = True  # whether videos are given the clips' sound
    force: bool = False  # make again what is there
    workers: int = 0  # generations at a time; 0: as many as fit
    address: str | None = None  # a Ray cluster
    seconds_per_step: float  # a step that takes longer counts as stuck

    def to_document(self) -> dict[str, Any]:
        fields = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {**fields, "options": self.options.model_dump(mode="json")}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> GenerationJob:
        return cls(**{**document, "options": Options.model_validate(document["options"])})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one generation, or of all seeds of a clip that cannot be generated from (`seed` is None)."""

    state: State
    clip_id: str
    text_of: str | None = None
    mode: str | None = None
    seed: int | None = None
    key: str | None = None
    file: str | None = None  # the video
    why: str | None = None  # of what was skipped or failed
    traceback: str | None = None
    frames: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    warnings: tuple[str, ...] = field(default_factory=tuple)

    @property
    def label(self) -> str:
        """Clip and prompt in a few words."""
        prompt = "" if self.text_of is None else f" with the prompt of {self.text_of}"
        return f"{self.clip_id}{prompt}"

    @property
    def trouble(self) -> str | None:
        """What happened in place of a video, in a line; None where there is one."""
        if self.state not in ("skipped", "failed"):
            return None
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"{self.state} {self.label}{seed}: {self.why or 'unknown'}"

    def to_document(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Outcome:
        return cls(**{**document, "warnings": tuple(document["warnings"])})


def outcome_of(request: Request, state: State, **more: Any) -> Outcome:
    """An outcome of this request."""
    return Outcome(
        state=state,
        clip_id=request.clip_id,
        text_of=request.text_of,
        mode=request.mode,
        seed=request.seed,
        key=request.key,
        **more,
    )


class Listener(Protocol):
    """Hears from an engine, in the process that called it."""

    @property
    def progress(self) -> Reporter: ...

    def outcome(self, outcome: Outcome) -> None: ...


#: Runs all requests of a job. A generation that fails is an outcome; what ends the job is raised.
Engine = Callable[[GenerationJob, Sequence[Request], Listener], None]

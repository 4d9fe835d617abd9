"""The only interface between the spine and the stages.

A stage turns media and earlier artifacts of one clip into one artifact. It never touches the store, an
engine or another stage's code.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from schemas import ClipRecord, MediaRecord, Record
from wanprep.media.window import Window
from wanprep.spool import ArraySpool, BlockSpool
from wanprep.timing import Timings

T = TypeVar("T")
C = TypeVar("C", bound="StageConfig")

_OWN_NAMES = frozenset({"CPU", "GPU", "memory"})  # as Ray calls what the other fields say


class Media(Enum):
    """Which media of a clip a stage reads; their digests enter the stage's key."""

    VIDEO = "video"
    REFERENCE = "reference"
    AUDIO = "audio"
    PROMPT = "prompt"
    CAPTION = "caption"  # as given with the input
    SUBJECT = "subject"  # as given with the input
    REFERENCE_ALONE = "reference alone"  # the reference of a clip without video; of others it is not read


class StageConfig(BaseModel):
    """Base of all stage configs. Every field enters the key unless it says `json_schema_extra={"key": False}`,
    which is right only for a field that cannot change the result (a batch size, say); or `{"key": "changed"}`, for one
    that came later: its default is what was done before, and leaves keys as they were."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Resources:
    """What one worker of a stage holds while it runs."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory: int = 0  # bytes of RAM beyond the interpreter's; 0: not declared
    # By the names that machines declare (`ray start --resources`).
    custom: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        wrong = [name for name, amount in self.custom.items() if name in _OWN_NAMES or not amount > 0]
        if wrong:
            raise ValueError(
                f"custom resource '{wrong[0]}' is one of cpus, gpus and memory, or its amount is not above 0"
            )
        object.__setattr__(self, "custom", MappingProxyType(dict(self.custom)))

    def __reduce__(self) -> tuple[type[Resources], tuple[float, float, int, dict[str, float]]]:
        # A mapping that nobody can change is no object that pickle takes.
        return type(self), (self.cpus, self.gpus, self.memory, dict(self.custom))


@dataclass(frozen=True, slots=True)
class Skipped:
    """The stage looked and has nothing to make: `reason` in words, `value` as measured."""

    reason: str
    value: float | None = None


class ClipContext:
    """What a stage may use while it works on one clip.

    `clip` is its row; `media` says what is in its files, by the role they play ("video", "reference", "audio";
    the sound of a video is told by the video's own row). `later` are the clips of the same task that come after
    this one, each with the names of the stages it is to go through.
    """

    def __init__(
        self,
        clip: ClipRecord,
        media: Mapping[str, MediaRecord],
        scratch: Path,
        timings: Timings | None = None,
        later: Sequence[tuple[ClipRecord, Collection[str]]] = (),
    ) -> None:
        self.clip = clip
        self.media = media
        self.timings = timings or Timings()
        self._scratch = scratch
        self._later = later
        self._shared: dict[Any, Any] = {}
        self._open: list[ArraySpool | BlockSpool] = []

    def spool(self, dtype: npt.DTypeLike, *row_shape: int) -> ArraySpool:
        """A tensor that grows with the clip's frames without growing in memory."""
        spool = ArraySpool(dtype, row_shape, self._scratch)
        self._open.append(spool)
        return spool

    def blocks(self) -> BlockSpool:
        spool = BlockSpool(self._scratch)
        self._open.append(spool)
        return spool

    def upcoming(self, stage: str) -> Iterator[ClipRecord]:
        """The clips that a stage will be given next, in order, so that it can work on several at a time."""
        return (clip for clip, stages in self._later if stage in stages)

    def shared(self, key: Any, make: Callable[[], T]) -> T:
        """One object a clip for all stages that ask with an equal key: an estimator's state over frames."""
        if key not in self._shared:
            self._shared[key] = make()
        found: T = self._shared[key]
        return found

    def close(self) -> None:
        """Frees the scratch space. Records that hold its spools are unreadable afterwards."""
        for spool in self._open:
            spool.close()
        self._open.clear()
        self._shared.clear()


class Stage(Generic[C]):
    """A stage without frames: `run` gets the clip's context and the records it needs, by stage name."""

    name: ClassVar[str]
    version: ClassVar[int] = 1  # raise it when the code's result changes
    record: ClassVar[type[Record]]
    Config: ClassVar[type[StageConfig]]
    reads: ClassVar[frozenset[Media]] = frozenset()
    needs: ClassVar[tuple[str, ...]] = ()  # stages whose artifact must be there before this one starts
    uses: ClassVar[tuple[str, ...]] = ()  # stages it takes into account at the end, when the recipe has them
    resources: ClassVar[Resources] = Resources()

    def __init__(self, config: C) -> None:
        self.config: C = config

    def models(self) -> Mapping[str, str]:
        """Name and digest (or exact version) of each model that determines the result."""
        return {}

    def spares(self, clip: ClipRecord) -> frozenset[str]:
        """Those of `uses` that change nothing for this clip: when they fail, this stage runs all the same."""
        return frozenset()

    def unavailable(self) -> str | None:
        """Why this stage cannot run here, with what would enable it; None when it can. Must be quick."""
        return None

    def setup(self) -> None:
        """Loads models. Called once a worker, before the first clip."""

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> Record | Skipped:
        raise TypeError(f"stage {self.name} neither overrides run nor is a FrameStage")


class Fold(Protocol):
    """State of a frame stage over one clip."""

    def add(self, window: Window) -> None:
        """Takes the next frames, in order."""

    def finish(self, inputs: Mapping[str, Record]) -> Record | Skipped:
        """The artifact, or why there is none. `inputs` holds the records of `needs`, and of those `uses`
        that the recipe has and that were not skipped."""


class FrameStage(Stage[C]):
    """A stage that folds over the clip's frames. Frame stages that do not need each other share one decode."""

    def begin(self, context: ClipContext, inputs: Mapping[str, Record]) -> Fold:
        """A new fold. `inputs` holds the records of `needs`; those of `uses` come with `finish`."""
        raise TypeError(f"frame stage {self.name} does not override begin")

"""Cheap stages that show what the spine does with stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from schemas import Record
from schemas.tensor import TENSOR, Tensor
from wanprep.media.window import Window
from wanprep.stage import ClipContext, FrameStage, Media, Resources, Skipped, Stage, StageConfig

#: Stage names in the order in which they began a clip; tests clear it.
BEGUN: list[str] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class CountRecord(Record):
    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("frames", pa.int64(), nullable=False),
            pa.field("sizes", pa.list_(pa.int64()), nullable=False),
            pa.field("levels_T", TENSOR, nullable=False),
            pa.field("large_TC", TENSOR),
        ]
    )

    frames: int
    sizes: list[int]  # of the windows
    levels_T: Tensor  # float32 [T] mean grey
    large_TC: Tensor | None = None  # uint8 [T,4096]: by reference from 5 frames on


class CountConfig(StageConfig):
    scale: float = 1.0
    large: bool = False
    batch: int = Field(default=8, json_schema_extra={"key": False})


class _CountFold:
    def __init__(self, config: CountConfig, context: ClipContext) -> None:
        self._config = config
        self._levels = context.spool(np.float32)
        self._large = context.spool(np.uint8, 4096) if config.large else None
        self._sizes: list[int] = []

    def add(self, window: Window) -> None:
        levels_T = window.gray_THW((32, 24)).mean(axis=(1, 2)) * self._config.scale
        self._levels.append(levels_T)
        self._sizes.append(len(window))
        if self._large is not None:
            self._large.append(np.repeat(levels_T[:, None], 4096, axis=1))

    def finish(self, inputs: Mapping[str, Record]) -> Record | Skipped:
        return CountRecord(
            frames=len(self._levels),
            sizes=self._sizes,
            levels_T=self._levels.tensor(),
            large_TC=self._large.tensor() if self._large is not None else None,
        )


class Count(FrameStage[CountConfig]):
    """Counts frames and measures their grey level."""

    name: ClassVar[str] = "count"
    record: ClassVar[type[Record]] = CountRecord
    Config: ClassVar[type[StageConfig]] = CountConfig
    reads: ClassVar[frozenset[Media]] = frozenset({Media.VIDEO})

    def begin(self, context: ClipContext, inputs: Mapping[str, Record]) -> _CountFold:
        BEGUN.append(self.name)
        return _CountFold(self.config, context)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteRecord(Record):
    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("text", pa.string(), nullable=False),
            pa.field("inputs", pa.list_(pa.string()), nullable=False),
        ]
    )

    text: str
    inputs: list[str]


class NoteConfig(StageConfig):
    style: str = "plain"


class Note(Stage[NoteConfig]):
    """Writes the prompt and the mean grey of `count`, which it needs, in a row."""

    name: ClassVar[str] = "note"
    record: ClassVar[type[Record]] = NoteRecord
    Config: ClassVar[type[StageConfig]] = NoteConfig
    reads: ClassVar[frozenset[Media]] = frozenset({Media.PROMPT})
    needs: ClassVar[tuple[str, ...]] = ("count",)

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> Record | Skipped:
        BEGUN.append(self.name)
        count: Any = inputs["count"]
        grey = float(np.mean(count.levels_T[:]))
        return NoteRecord(
            text=f"{self.config.style}: {context.clip.prompt} {grey:.1f}", inputs=sorted(inputs)
        )


class Digest(FrameStage[StageConfig]):
    """A frame stage that takes `count` and `note` into account at its end, when they are there."""

    name: ClassVar[str] = "digest"
    record: ClassVar[type[Record]] = NoteRecord
    Config: ClassVar[type[StageConfig]] = StageConfig
    reads: ClassVar[frozenset[Media]] = frozenset({Media.VIDEO})
    uses: ClassVar[tuple[str, ...]] = ("count", "note")

    class _Fold:
        def __init__(self) -> None:
            self.frames = 0

        def add(self, window: Window) -> None:
            self.frames += len(window)

        def finish(self, inputs: Mapping[str, Record]) -> Record | Skipped:
            return NoteRecord(text=str(self.frames), inputs=sorted(inputs))

    def begin(self, context: ClipContext, inputs: Mapping[str, Record]) -> Digest._Fold:
        BEGUN.append(self.name)
        return Digest._Fold()


def broken(error: Exception, *, after: int = 0) -> type[Count]:
    """A `count` that raises once `after` frames went by."""

    class Fold(_CountFold):
        def add(self, window: Window) -> None:
            if window.start + len(window) > after:
                raise error
            _CountFold.add(self, window)

    class Broken(Count):
        def begin(self, context: ClipContext, inputs: Mapping[str, Record]) -> _CountFold:
            return Fold(self.config, context)

    return Broken


def skipping(reason: str, value: float | None = None) -> type[Count]:
    """A `count` that looks at all frames and finds nothing."""

    class Fold(_CountFold):
        def finish(self, inputs: Mapping[str, Record]) -> Record | Skipped:
            return Skipped(reason, value)

    class Skipping(Count):
        def begin(self, context: ClipContext, inputs: Mapping[str, Record]) -> _CountFold:
            return Fold(self.config, context)

    return Skipping


def on_gpu(stage: type[Stage[Any]]) -> type[Stage[Any]]:
    """The same stage, in an operator of its own."""
    return type(stage.__name__, (stage,), {"resources": Resources(cpus=1, gpus=1)})

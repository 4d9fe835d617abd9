"""Stages that do what a clip's prompt says: nothing in particular, or something terrible."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from schemas import Record
from wanprep.stage import ClipContext, Media, Resources, Stage, StageConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class WordRecord(Record):
    SCHEMA: ClassVar[pa.Schema] = pa.schema([pa.field("text", pa.string(), nullable=False)])

    text: str


class MoodyConfig(StageConfig):
    seconds: float = 0.0  # of work a clip
    diary: str | None = None  # a file that gets a line a clip: what was worked on, and by which process


class Moody(Stage[MoodyConfig]):
    name = "test_moody"
    record = WordRecord
    Config = MoodyConfig
    reads = frozenset({Media.PROMPT})

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> Record:
        prompt = context.clip.prompt or ""
        if self.config.diary:
            with open(self.config.diary, "a", encoding="utf-8") as file:
                file.write(f"{os.getpid()} {prompt}\n")
        if prompt.startswith("segfault"):
            ctypes.string_at(0)
        if prompt.startswith("hang"):
            time.sleep(3_600)
        if prompt.startswith("raise"):
            raise ValueError("no good")
        if prompt.startswith("full disk"):
            raise OSError(28, "No space left on device")
        if prompt.startswith("wrong"):
            return "a text"  # type: ignore[return-value]
        time.sleep(self.config.seconds)
        return WordRecord(text=prompt.upper())


class After(Stage[StageConfig]):
    """Needs a GPU, so that it gets an operator of its own."""

    name = "test_after"
    record = WordRecord
    Config = StageConfig
    needs = ("test_moody",)
    resources = Resources(cpus=0.5, gpus=0.5)

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> Record:
        before = inputs["test_moody"]
        return WordRecord(text=f"after {before.text}")  # type: ignore[attr-defined]


class Doomed(Stage[StageConfig]):
    """Kills its worker before any clip is begun."""

    name = "test_doomed"
    record = WordRecord
    Config = StageConfig
    reads = frozenset({Media.PROMPT})

    def setup(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Greedy(Moody):
    name = "test_greedy"
    resources = Resources(cpus=999)

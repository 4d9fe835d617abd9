"""Stages that do what a clip's prompt says: nothing in particular, or something terrible."""

from __future__ import annotations

import ctypes
import os
import resource
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


class HungryConfig(MoodyConfig):
    room: int | None = None  # bytes that its process may take on top of what it has, by `ulimit -d`
    group: str | None = None  # file of a memory group of the kernel's, which its process enters


class Hungry(Stage[HungryConfig]):
    """Eats memory when a clip's prompt begins with `hungry`, and with `ravenous` down to the last bytes. It never
    takes more than 1.5 GiB, whether or not anything stops it."""

    name = "test_hungry"
    record = WordRecord
    Config = HungryConfig
    reads = frozenset({Media.PROMPT})

    def setup(self) -> None:
        if self.config.room is not None:
            with open("/proc/self/status", encoding="utf-8") as file:
                taken = next(int(line.split()[1]) << 10 for line in file if line.startswith("VmData:"))
            limit = taken + self.config.room
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        if self.config.group is not None:
            with open(self.config.group, "w", encoding="utf-8") as file:
                file.write(str(os.getpid()))

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> Record:
        prompt = context.clip.prompt or ""
        if self.config.diary:
            with open(self.config.diary, "a", encoding="utf-8") as file:
                file.write(f"{os.getpid()} {prompt}\n")
        if prompt.startswith("hungry"):
            _eat([_BITE])
        if prompt.startswith("ravenous"):
            _eat([_BITE, _BITE >> 6, _BITE >> 12, _BITE >> 18])
        return WordRecord(text=prompt.upper())


_BITE = 16 << 20
_ENOUGH = 3 << 29


def _eat(bites: list[int]) -> None:
    """Takes memory in bites of these sizes, the next when there is no room for the one before."""
    taken, hoard = 0, []
    for size in bites:
        try:
            while taken < _ENOUGH:
                hoard.append(b"\1" * size)  # written, not only promised by the kernel
                taken += size
            raise RuntimeError(f"nothing stopped it before {_ENOUGH >> 20} MiB")
        except MemoryError:
            if size == bites[-1]:
                raise


class Reader(Moody):
    """Needs what only some machines have, and tells on which one it was."""

    name = "test_reader"
    resources = Resources(cpus=0, custom={"test_reader": 1})

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> Record:
        import ray

        super().run(context, inputs)
        return WordRecord(text=str(ray.get_runtime_context().get_node_id()))


class OnGpu(Reader):
    name = "test_on_gpu"
    resources = Resources(cpus=0, gpus=1)

"""A generator without a model: noise that follows from prompt and seed, and whatever the prompt says goes wrong."""

from __future__ import annotations

import ctypes
import logging
import os
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from wanprep.key import file_digest, text_digest
from wanprep.models.errors import ModelMissing
from wanprep.store.clip import StoredClip
from wanprep.store.store import Store
from wanprep_infer.conditioning.unfit import UnfitConditioning
from wanprep_infer.generators.protocol import ModelFacts, Rounding, Work
from wanprep_infer.jobs import memory_use
from wanprep_infer.load_options import Options
from wanprep_infer.output.video_file import Sound
from wanprep_infer.progress import Progress, silent


class NoiseSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["noise", "quiet"] = Field(default="noise", description="Which noise.")
    steps: int = Field(default=2, ge=1, description="Of a segment.")
    segments: int = Field(default=2, ge=1, description="Of 4 frames each.")


@dataclass(frozen=True)
class NoiseConditioning:
    clip_id: str
    keys: Mapping[str, str]
    prompt: str
    seconds: float = 0.0
    width: int = 32
    height: int = 16
    fps: Fraction = Fraction(8)
    warnings: tuple[str, ...] = ()


class NoisePipeline:
    device = "cpu"

    def __init__(self, diary: str | None) -> None:
        self._diary = diary

    def check(self, conditioning: NoiseConditioning, settings: NoiseSettings) -> None:
        if conditioning.prompt.startswith("misfit"):
            raise UnfitConditioning(f"clip {conditioning.clip_id}: is for another model: run again with that")

    def generate(
        self,
        conditioning: NoiseConditioning,
        settings: NoiseSettings,
        seed: int,
        progress: Progress | None = None,
    ) -> Iterator[Any]:
        progress = progress or silent()
        prompt = conditioning.prompt
        _note(self._diary, f"generate {conditioning.clip_id} {seed}")
        progress.begin(conditioning.clip_id, settings.segments, settings.steps)
        if prompt.startswith("segfault") or (prompt.startswith("once") and self._times(prompt) == 1):
            ctypes.string_at(0)
        if prompt.startswith("hang"):
            time.sleep(3_600)
        import torch

        generator = torch.Generator().manual_seed(int(conditioning.keys["text"][:12], 16) ^ seed)
        for segment in range(settings.segments):
            for _ in range(settings.steps):
                if prompt.startswith("slow"):
                    time.sleep(0.2)
                progress.step()
            if segment and prompt.startswith("raise"):
                raise ValueError("no good")
            if segment and prompt.startswith("infinite"):
                yield torch.full((3, 4, 16, 32), float("nan"))
            if segment and prompt.startswith("short"):
                return
            if prompt.startswith("broken"):
                break_gpu()
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            frames_CTHW = torch.rand(3, 4, 16, 32, generator=generator) * 2 - 1
            seen = weakref.ref(frames_CTHW)
            progress.segment(4)
            yield frames_CTHW
            del frames_CTHW
            assert seen() is None, "frames are held while the next ones are made"
        progress.end()

    def _times(self, clip_id: str) -> int:
        """How often a clip was begun."""
        lines = Path(str(self._diary)).read_text(encoding="utf-8").splitlines()
        return sum(line.startswith(f"generate {clip_id} ") for line in lines)


def break_gpu() -> None:
    """From now on this process is as one whose GPU is lost."""
    memory_use.gpu_is_lost = lambda: True


class NoiseGenerator:
    name: ClassVar[str] = "test_noise"
    version: ClassVar[int] = 1
    Settings: ClassVar[type[NoiseSettings]] = NoiseSettings
    unkeyed: ClassVar[frozenset[str]] = frozenset()

    def settings(self, fields: Mapping[str, Any]) -> NoiseSettings:
        return NoiseSettings.model_validate(dict(fields))

    def mode(self, settings: NoiseSettings) -> str:
        return settings.mode

    def conditioning(self, clip: StoredClip, settings: NoiseSettings) -> NoiseConditioning:
        assert clip.text is not None
        prompt = clip.record.prompt or ""
        if prompt.startswith("unfit"):
            raise UnfitConditioning(f"clip {clip.id}: has the wrong size: run again with another")
        warnings = ("mind the gap",) if prompt.startswith("warned") else ()
        return NoiseConditioning(clip.id, {"text": clip.record.keys["text"]}, prompt, warnings=warnings)

    def work(self, conditioning: NoiseConditioning, settings: NoiseSettings) -> Work:
        return Work(settings.segments, settings.steps, 4 * settings.segments)

    def sound(
        self, store: Store, clip: StoredClip, conditioning: NoiseConditioning, settings: NoiseSettings
    ) -> Sound | None:
        uri = clip.record.audio
        return None if uri is None else Sound(uri, clip.record.start, 4 * settings.segments / 8)

    def rounding(self, settings: NoiseSettings) -> Rounding:
        return "nearest"

    def model(self, name_or_path: str) -> ModelFacts:
        if not Path(name_or_path).is_file():
            raise ModelMissing(f"model '{name_or_path}': there is no such file")
        return ModelFacts({"transformer": file_digest(name_or_path), "vae": text_digest("none")}, 1_000)

    def load(self, name_or_path: str, options: Options, loras: Sequence[Any]) -> NoisePipeline:
        what = Path(name_or_path).read_text(encoding="utf-8").split()
        _note(what[1] if len(what) > 1 else None, f"load {os.getpid()}")
        if what[0] == "doomed" or (what[0] == "crowded" and _loads(what[1]) > 1):
            ctypes.string_at(0)
        if what[0] == "odd":
            logging.getLogger("wanprep.models").warning("LoRA %s: some tensors are left out", "x")
        if what[0] == "large":
            import torch

            raise torch.OutOfMemoryError("tried to allocate 28.00 GiB.\nGPU 0 has 24 GiB")
        return NoisePipeline(what[1] if len(what) > 1 else None)

    def preset(self, settings: NoiseSettings) -> str:
        return "features"


def _loads(diary: str) -> int:
    return Path(diary).read_text(encoding="utf-8").count("load ")


def _note(diary: str | None, line: str) -> None:
    if diary is not None:
        with open(diary, "a", encoding="utf-8") as file:
            file.write(f"{line}\n")

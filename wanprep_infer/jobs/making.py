"""Makes one generation after the other with one loaded model: frames, video, side-car, and what became of it."""

from __future__ import annotations

import contextlib
import errno
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wanprep.engine.steps import one_line
from wanprep.errors import WanprepError
from wanprep.store.clip import StoredClip
from wanprep.store.store import Store
from wanprep_infer.conditioning.source_files import trouble_with
from wanprep_infer.conditioning.unfit import UnfitConditioning
from wanprep_infer.generators.protocol import Conditioning, Generator, Pipeline
from wanprep_infer.generators.registry import generator
from wanprep_infer.jobs import memory_use
from wanprep_infer.jobs.job import GenerationJob, Outcome, outcome_of
from wanprep_infer.jobs.notes import warnings_of_loading
from wanprep_infer.jobs.plan import is_unfit, opened
from wanprep_infer.jobs.ranks import is_first
from wanprep_infer.jobs.request import Request
from wanprep_infer.memory.advice import advice
from wanprep_infer.memory.config import MemoryConfig
from wanprep_infer.models.model_size import tiny_note
from wanprep_infer.output import side_car
from wanprep_infer.progress import Progress

if TYPE_CHECKING:
    from wanprep_infer.lora import Lora

_TRACEBACK_CHARS = 4_000
# The output folder's trouble, which every generation would meet: it ends the job.
_FATAL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE)


class Maker:
    """A process's part in a job. The model is loaded when the first generation needs it."""

    def __init__(self, job: GenerationJob) -> None:
        self._job = job
        self._generator: Generator = generator(job.generator)
        self._settings = self._generator.settings(job.settings)
        self._store = Store.open(job.store)
        self._out = Path(job.out)
        self._writes = is_first(job.options.memory)
        self._pipeline: Pipeline | None = None
        self._notes: list[str] = []  # worth a look, of the model
        self.spent: str | None = None  # why this process can make no more
        # Seeds of a clip follow one another: what is read of it is read once.
        self._last: tuple[tuple[str, str | None], StoredClip, Conditioning] | None = None

    def load(self) -> Pipeline:
        """The model, loaded once.

        Raises:
            ModelMissing, ModelBroken: it cannot be; that ends the job.
            WanprepError: the GPU is too small for it; says what to try.
        """
        if self._pipeline is None:
            from wanprep_infer.lora import Lora

            options = self._job.options
            loras: list[Lora] = [Lora.parse(text) for text in options.loras]
            try:
                with warnings_of_loading() as self._notes:
                    self._pipeline = self._generator.load(self._job.model, options, loras)
            except Exception as error:
                if not memory_use.is_out_of_gpu_memory(error):
                    raise
                raise WanprepError(
                    f"model '{self._job.model}' does not fit the GPU's memory ({one_line(error)}); "
                    f"{advice(options.memory)}"
                ) from error
        return self._pipeline

    def make(self, request: Request, progress: Progress) -> Outcome:
        """Makes a request's video, unless it is there whole. What goes wrong with it is its outcome.

        Raises:
            WanprepError: the model cannot be loaded, the output folder cannot be written, or this process is spent.
        """
        if self.spent is not None:
            raise WanprepError(self.spent)
        # Processes that share a generation must all make it, or all leave it: then the plan has looked already.
        alone = self._job.options.memory.parallel == "none"
        if alone and not self._job.force and (found := side_car.read_whole(self._out, request)) is not None:
            return already(self._out, request, found)
        pipeline = self.load()
        try:
            return self._make(pipeline, request, progress)
        except Exception as error:
            if isinstance(error, WanprepError) and getattr(error.__cause__, "errno", None) in _FATAL_ERRORS:
                raise
            failed = _failure(request, error, self._job.options.memory)
            short = memory_use.is_out_of_gpu_memory(error)
        # Outside the handler: its traceback would keep the tensors of the attempt alive.
        if short:
            memory_use.free_gpu()
        if memory_use.gpu_is_lost():
            self.spent = (
                f"the GPU stopped working while {request.stem} was made ({failed.why}), and a new process is needed: "
                "run again to go on, or take --engine ray, which starts one by itself"
            )
        return failed

    def _make(self, pipeline: Pipeline, request: Request, progress: Progress) -> Outcome:
        clip, conditioning = self._conditioning(request)
        pipeline.check(conditioning, self._settings)
        memory_use.restart_gpu_peak()
        started, begun = time.perf_counter(), datetime.now(UTC)
        try:
            video, warnings = self._write(pipeline, request, clip, conditioning, progress)
        finally:
            progress.end()
        seconds = time.perf_counter() - started
        peak, gpu_peak = memory_use.process_peak_bytes(), memory_use.gpu_peak_bytes()
        made = {
            "at": begun.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "seconds": round(seconds, 3),
            "device": str(getattr(pipeline, "device", self._job.options.device)),
            "peak_bytes": peak,
            "gpu_peak_bytes": gpu_peak,
        }
        about = {**self._about(request, clip), "made": made, "warnings": list(warnings)}
        if self._writes:
            side_car.write(self._out, request, about, video)
        return outcome_of(
            request,
            "made",
            file=str(side_car.video_path(self._out, request)),
            frames=video["frames"],
            seconds=seconds,
            peak_bytes=gpu_peak or peak,
            warnings=warnings,
        )

    def _write(
        self,
        pipeline: Pipeline,
        request: Request,
        clip: StoredClip,
        conditioning: Conditioning,
        progress: Progress,
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Generates into the video file; what the side-car says of it, and warnings."""
        from wanprep_infer.output.pixels import to_uint8_THWC
        from wanprep_infer.output.video_file import VideoFile

        settings, chosen = self._settings, self._generator
        sound = chosen.sound(self._store, clip, conditioning, settings) if self._job.sound else None
        if sound is not None and (trouble := trouble_with(self._store, clip.record, sound.uri)):
            raise UnfitConditioning(
                f"clip {clip.id}: its sound {sound.uri} {trouble}: put the file that it was prepared from back, "
                "run `wanprep run` again, or take --no-sound"
            )
        planned, rounding = chosen.work(conditioning, settings).frames, chosen.rounding(settings)
        size = {"width": conditioning.width, "height": conditioning.height}
        path = side_car.video_path(self._out, request)
        frames: Any = pipeline.generate(
            conditioning, settings, request.seed, _Labelled(progress, request.stem)
        )
        with contextlib.ExitStack() as stack:
            # After an error too: a generator holds a segment's tensors.
            stack.callback(getattr(frames, "close", lambda: None))
            video = None
            if self._writes:
                video = stack.enter_context(VideoFile(path, fps=conditioning.fps, sound=sound, **size))
            count = 0
            for frames_CTHW in frames:
                count += frames_CTHW.shape[1]
                if video is not None:
                    video.add(to_uint8_THWC(frames_CTHW, rounding))
                del frames_CTHW  # not to be held while the next ones are made
            if count != planned:
                raise RuntimeError(f"{count} frames were generated, {planned} were planned")
        warnings = [*self._notes, *getattr(conditioning, "warnings", ())]
        if video is not None and video.sound_cut_short is not None:
            warnings.append(f"the sound ends early: {video.sound_cut_short}")
        facts = {
            "frames": planned,
            "fps": float(conditioning.fps),
            **size,
            "seconds": round(float(planned / conditioning.fps), 6),
            "sound": video is not None and video.has_sound,
        }
        return facts, tuple(warnings)

    def _about(self, request: Request, clip: StoredClip) -> dict[str, Any]:
        """What the side-car says of clip, settings and model."""
        record, options = clip.record, self._job.options
        tiny = tiny_note(self._job.parameters) is not None
        return {
            "clip": {
                "id": clip.id,
                "text_of": request.text_of,
                **{name: getattr(record, name) for name in ("video", "audio", "reference", "prompt")},
            },
            "seed": request.seed,
            "settings": self._settings.model_dump(mode="json"),
            "model": {
                "name": self._job.model,
                "parameters": self._job.parameters,
                "digests": request.made_from["models"],
                "loras": list(options.loras),
                "precision": options.precision,
                "memory": options.memory.model_dump(mode="json"),
            },
            **({"weights": "random, tiny model: noise is expected"} if tiny else {}),
        }

    def _conditioning(self, request: Request) -> tuple[StoredClip, Any]:
        name = (request.clip_id, request.text_of)
        if self._last is None or self._last[0] != name:
            self._last = None  # two of them need not lie in memory
            clip = opened(self._store, *name)
            self._last = (name, clip, self._generator.conditioning(clip, self._settings))
        _, clip, conditioning = self._last
        return clip, conditioning


class _Labelled:
    """Tells a generation's progress under the name of its files, whatever the pipeline calls it."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress, self._label = progress, label

    def begin(self, label: str, segments: int, steps: int) -> None:
        self._progress.begin(self._label, segments, steps)

    def step(self) -> None:
        self._progress.step()

    def segment(self, frames: int) -> None:
        self._progress.segment(frames)

    def end(self) -> None:
        self._progress.end()


def already(out: Path, request: Request, found: dict[str, Any]) -> Outcome:
    """The outcome of a request whose video is there, from its side-car."""
    video = found["video"]
    return outcome_of(
        request, "already", file=str(side_car.video_path(out, request)), frames=int(video.get("frames", 0))
    )


def _failure(request: Request, error: Exception, memory: MemoryConfig) -> Outcome:
    why = one_line(error).removeprefix(f"clip {request.clip_id}: ")
    if is_unfit(error):
        return outcome_of(request, "skipped", why=why)
    if memory_use.is_out_of_gpu_memory(error):
        why = f"out of GPU memory ({why}); {advice(memory)}"
    trace = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]
    return outcome_of(request, "failed", why=why, traceback=trace)

"""Stage `caption`: a clip in words, from its frames, from what was measured, or as it was given.

It reads its frames itself instead of folding over windows: a caption that was given costs no decoding then, a clip
without video has its reference picture described, and decoding ends at the last of the few frames that are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import cv2
import numpy as np

from schemas import CaptionRecord, Record
from schemas.caption import GIVEN, MODEL, SERVER, TEMPLATE
from stages.caption import wording
from stages.caption.config import CaptionConfig
from stages.caption.facts import measure
from stages.caption.prompt import load
from stages.caption.sampling import Sample, fit_pixels, sample_picture, sample_video
from stages.caption.writer import CaptionError, Writer, cleaned
from wanprep.media.geometry import Size
from wanprep.stage import ClipContext, Media, Resources, Skipped, Stage, StageConfig

_LEAST_SIDE = 16  # pixels: nothing can be made out on less
_GLANCE = 160 * 90  # pixels of a frame whose light and colours alone are measured
_MEASURED = ("audio", "face", "flow", "quality", "skeleton")


class Caption(Stage[CaptionConfig]):
    """One caption a clip: the one given, or else the backend's."""

    name: ClassVar[str] = "caption"
    version: ClassVar[int] = 1
    record: ClassVar[type[Record]] = CaptionRecord
    Config: ClassVar[type[StageConfig]] = CaptionConfig
    reads: ClassVar[frozenset[Media]] = frozenset({Media.VIDEO, Media.REFERENCE_ALONE, Media.CAPTION})

    def __init__(self, config: CaptionConfig) -> None:
        super().__init__(config)
        self._writer: Writer | None = None

    @property
    def uses(self) -> tuple[str, ...]:  # type: ignore[override]
        # A model looks for itself: what others measured must not make its captions stale.
        return _MEASURED if self.config.backend == "template" else ()

    @property
    def resources(self) -> Resources:  # type: ignore[override]
        pictures = self.config.max_frames * min(self.config.max_pixels, _GLANCE) * 3
        if self.config.backend == "template":
            return Resources(cpus=1.0, memory=(20 << 20) + pictures)
        pictures = self.config.max_frames * self.config.max_pixels * 3
        if self.config.backend == "server":
            return Resources(cpus=1.0, memory=(20 << 20) + pictures)
        gpus = 1.0 if self.config.device == "cuda" else 0.0
        # Pixels as float32 patches stand beside the pictures.
        return Resources(cpus=1.0, gpus=gpus, memory=(1 << 30) + 5 * pictures)

    def models(self) -> Mapping[str, str]:
        if self.config.backend != "transformers":
            return {"opencv": cv2.__version__} if self.config.backend == "template" else {}
        from wanprep.models.resolve import digest

        return {"vision-language": digest(self.config.model)}

    def unavailable(self) -> str | None:
        if self.config.backend == "server":
            from stages.caption.server import not_ready

            return not_ready(self.config.server)
        if self.config.backend == "transformers":
            from wanprep.models.device import check_extra
            from wanprep.models.resolve import missing

            return check_extra("torch", "torchvision", "transformers", "PIL") or missing(self.config.model)
        return None

    def setup(self) -> None:
        cv2.setNumThreads(1)  # workers run side by side
        if self.config.backend == "server":
            from stages.caption.server import ServerWriter

            self._writer = ServerWriter(self.config)
        elif self.config.backend == "transformers":
            from stages.caption.vision_language import VisionLanguageWriter

            self._writer = VisionLanguageWriter(self.config)

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> CaptionRecord | Skipped:
        clip = context.clip
        if clip.caption_error is not None:
            raise CaptionError(clip.caption_error)
        if clip.caption is not None:
            return _given(clip.caption)
        sample = self._sample(context)
        if isinstance(sample, Skipped):
            return sample
        if self.config.backend == "template":
            return self._from_facts(sample, inputs)
        return self._from_model(sample)

    def _sample(self, context: ClipContext) -> Sample | Skipped:
        clip, video, reference = context.clip, context.media.get("video"), context.media.get("reference")
        source = video or reference
        if source is None:
            return Skipped("neither a video nor a reference picture to describe", 0.0)
        if (side := min(source.width or 0, source.height or 0)) < _LEAST_SIDE:
            return Skipped(f"a picture of {source.width}x{source.height} pixels shows nothing", float(side))
        size = self._writer.size if self._writer is not None else _glance
        with context.timings.span("decode"):
            if video is None:
                return sample_picture(source.uri, size)
        most = self.config.max_frames
        if self.config.backend == "server":
            most = min(most, self.config.server.frames)
        return sample_video(clip, video, fps=self.config.fps, most=most, size=size, timings=context.timings)

    def _from_facts(self, sample: Sample, inputs: Mapping[str, Record]) -> CaptionRecord:
        # What was measured is about the video: of a reference picture only light and colours are known.
        facts = measure(sample, inputs if sample.medium == "video" else {})
        sound = self.config.template.text != load("animate")
        return CaptionRecord(
            text=wording.describe(facts, self.config.language, sound=sound),
            source=TEMPLATE,
            language=self.config.language,
            model=wording.VERSION,
            model_digest=None,
            device=None,
            precision=None,
            template=None,
            template_digest=None,
            truncated=False,
            medium=sample.medium,
            width=sample.size[0],
            height=sample.size[1],
            times_T=sample.times_T,
            facts=facts,
        )

    def _from_model(self, sample: Sample) -> CaptionRecord:
        writer = self._writer
        if writer is None:
            raise CaptionError("the captioner is not set up")
        config = self.config
        written = writer.write(config.template.ask(config.language, sample.medium), sample)
        here = config.backend == "transformers"
        return CaptionRecord(
            text=cleaned(written.text),
            source=MODEL if here else SERVER,
            language=config.language,
            model=writer.model,
            model_digest=writer.digest,
            device=writer.device,
            precision=config.precision if here else None,
            template=config.template.name,
            template_digest=config.template.digest,
            truncated=written.truncated,
            medium=sample.medium,
            width=sample.size[0],
            height=sample.size[1],
            times_T=sample.times_T,
            facts={},
        )


def _glance(width: int, height: int) -> Size:
    return fit_pixels(width, height, _GLANCE, 2)


def _given(text: str) -> CaptionRecord:
    return CaptionRecord(
        text=text,
        source=GIVEN,
        language=None,
        model=None,
        model_digest=None,
        device=None,
        precision=None,
        template=None,
        template_digest=None,
        truncated=False,
        medium=None,
        width=None,
        height=None,
        times_T=np.zeros(0),
        facts={},
    )

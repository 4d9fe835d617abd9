"""Animate and replacement, as a kind of generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from wanprep.store.clip import StoredClip
from wanprep.store.store import Store
from wanprep_infer.animate.settings import AnimateSettings
from wanprep_infer.conditioning.source_files import row_of
from wanprep_infer.generators.protocol import ModelFacts, Rounding, Work
from wanprep_infer.load_options import Options
from wanprep_infer.models.model_size import parameters

if TYPE_CHECKING:
    from wanprep_infer.animate import AnimatePipeline
    from wanprep_infer.conditioning.animate import AnimateConditioning
    from wanprep_infer.lora import Lora
    from wanprep_infer.output.video_file import Sound


class AnimateGenerator:
    """See `Generator`."""

    name: ClassVar[str] = "animate"
    version: ClassVar[int] = 1
    Settings: ClassVar[type[AnimateSettings]] = AnimateSettings
    # The same numbers are computed once or at every step.
    unkeyed: ClassVar[frozenset[str]] = frozenset({"keep_keys_values"})

    def mode(self, settings: AnimateSettings) -> str:
        return settings.mode

    def conditioning(self, clip: StoredClip, settings: AnimateSettings) -> AnimateConditioning:
        from wanprep_infer.conditioning.animate import AnimateConditioning

        return AnimateConditioning.from_clip(clip, settings.mode, guided=settings.guided)

    def work(self, conditioning: AnimateConditioning, settings: AnimateSettings) -> Work:
        return Work(len(conditioning.segments.windows), settings.steps, conditioning.frames)

    def sound(
        self, store: Store, clip: StoredClip, conditioning: AnimateConditioning, settings: AnimateSettings
    ) -> Sound | None:
        """The clip's own audio file, or the driving video's sound where it has any, as long as the clip."""
        from wanprep_infer.output.video_file import Sound

        record = clip.record
        uri = record.audio or (record.video if _has_sound(store, record.video) else None)
        seconds = float(conditioning.frames / conditioning.fps)
        return None if uri is None else Sound(uri, record.start, seconds)

    def rounding(self, settings: AnimateSettings) -> Rounding:
        return "truncate" if settings.compat == "official" else "nearest"

    def model(self, name_or_path: str) -> ModelFacts:
        from wanprep_infer.models.folder import find_generator

        folder = find_generator(name_or_path, "animate")
        return ModelFacts(folder.digests(), parameters(folder.weights))

    def load(self, name_or_path: str, options: Options, loras: Sequence[Lora]) -> AnimatePipeline:
        from wanprep_infer.animate import AnimatePipeline

        return AnimatePipeline.from_pretrained(
            name_or_path,
            device=options.device,
            precision=options.precision,
            memory=options.memory,
            loras=loras,
        )

    def preset(self, settings: AnimateSettings) -> str:
        from wanprep_infer.conditioning.animate import PRESETS

        return PRESETS[settings.mode]

    def settings(self, fields: Mapping[str, Any]) -> AnimateSettings:
        return AnimateSettings.model_validate(dict(fields))


def _has_sound(store: Store, uri: str | None) -> bool:
    """Whether a video has sound, as it was seen when it was prepared."""
    row = None if uri is None else row_of(store, uri)
    return row is not None and row.audio_codec is not None

"""Sound to video, as a kind of generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from wanprep.store.clip import StoredClip
from wanprep.store.store import Store
from wanprep_infer.generators.protocol import ModelFacts, Rounding, Work
from wanprep_infer.load_options import Options
from wanprep_infer.models.model_size import parameters
from wanprep_infer.s2v.settings import S2VSettings

if TYPE_CHECKING:
    from wanprep_infer.conditioning.s2v import S2VConditioning
    from wanprep_infer.lora import Lora
    from wanprep_infer.output.video_file import Sound
    from wanprep_infer.s2v import S2VPipeline


class S2VGenerator:
    """See `Generator`."""

    name: ClassVar[str] = "s2v"
    version: ClassVar[int] = 1
    Settings: ClassVar[type[S2VSettings]] = S2VSettings
    # The same numbers are computed once or at every step.
    unkeyed: ClassVar[frozenset[str]] = frozenset({"keep_keys_values"})

    def mode(self, settings: S2VSettings) -> str:
        return "s2v"

    def conditioning(self, clip: StoredClip, settings: S2VSettings) -> S2VConditioning:
        from wanprep_infer.conditioning.s2v import S2VConditioning

        return S2VConditioning.from_clip(clip, settings)

    def work(self, conditioning: S2VConditioning, settings: S2VSettings) -> Work:
        from wanprep_infer.s2v.timing import plan_of

        plan = plan_of(conditioning, settings)
        return Work(plan.clips, settings.steps, plan.frames)

    def sound(
        self, store: Store, clip: StoredClip, conditioning: S2VConditioning, settings: S2VSettings
    ) -> Sound | None:
        from wanprep_infer.s2v.timing import sound_of

        return sound_of(conditioning, settings)

    def rounding(self, settings: S2VSettings) -> Rounding:
        return "truncate" if settings.compat == "official" else "nearest"

    def model(self, name_or_path: str) -> ModelFacts:
        from wanprep_infer.models.folder import find_generator

        folder = find_generator(name_or_path, "s2v")
        return ModelFacts(folder.digests(), parameters(folder.weights))

    def load(self, name_or_path: str, options: Options, loras: Sequence[Lora]) -> S2VPipeline:
        from wanprep_infer.s2v import S2VPipeline

        return S2VPipeline.from_pretrained(
            name_or_path,
            device=options.device,
            precision=options.precision,
            memory=options.memory,
            loras=loras,
        )

    def preset(self, settings: S2VSettings) -> str:
        return "s2v-pose" if settings.pose == "required" else "s2v"

    def settings(self, fields: Mapping[str, Any]) -> S2VSettings:
        return S2VSettings.model_validate(dict(fields))

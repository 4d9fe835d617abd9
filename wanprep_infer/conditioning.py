"""Which generations a stored clip is ready for, and what each still lacks."""

from __future__ import annotations

from dataclasses import dataclass

from wanprep.store.clip import StoredClip

#: Conditioning set -> the artifacts its model takes. Text, image and latent encoders are not part of this version,
#: so no set is complete yet; what is there already need not be made again.
CONDITIONING_SETS: dict[str, tuple[str, ...]] = {
    "animate": ("skeleton", "face", "image_embed", "text", "reference_latents", "pose_latents"),
    "animate-replace": (
        "skeleton",
        "face",
        "mask",
        "background",
        "image_embed",
        "text",
        "reference_latents",
        "pose_latents",
        "background_latents",
    ),
    "s2v": ("audio", "text", "reference_latents"),
}


@dataclass(frozen=True, slots=True)
class Coverage:
    """Artifacts of one conditioning set that a clip has, and those it lacks; `unfit` are there but made by an
    embedded backend that the model was not trained on."""

    present: tuple[str, ...]
    missing: tuple[str, ...]
    unfit: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        return not self.missing and not self.unfit


def coverage(clip: StoredClip, conditioning_set: str) -> Coverage:
    """What of a conditioning set the clip has.

    Raises:
        ValueError: there is no set of this name.
    """
    if conditioning_set not in CONDITIONING_SETS:
        known = ", ".join(CONDITIONING_SETS)
        raise ValueError(f"no conditioning set is called '{conditioning_set}' (there are: {known})")
    present: list[str] = []
    missing: list[str] = []
    unfit: list[str] = []
    for name in CONDITIONING_SETS[conditioning_set]:
        record = clip.get(name)
        if record is None:
            missing.append(name)
        elif conditioning_set == "s2v" and name == "audio" and not record.backend.startswith("wav2vec2"):
            unfit.append(name)
        else:
            present.append(name)
    return Coverage(tuple(present), tuple(missing), tuple(unfit))

"""Which generations a stored clip is ready for, and what each still lacks."""

from __future__ import annotations

from dataclasses import dataclass

from schemas import AudioRecord, LatentsRecord, Record, TextRecord
from wanprep.store.clip import StoredClip
from wanprep_infer.conditioning.latents_check import unfit_latents
from wanprep_infer.conditioning.text_check import unfit_text

#: Conditioning set -> the artifacts its model takes.
CONDITIONING_SETS: dict[str, tuple[str, ...]] = {
    "animate": ("pose_latents", "face_crops", "reference_latents", "image_embed", "text"),
    "animate-replace": (
        "pose_latents",
        "face_crops",
        "reference_latents",
        "image_embed",
        "text",
        "replace_mask",
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
    reasons: tuple[str, ...] = ()  # one sentence for each of `unfit`

    @property
    def ready(self) -> bool:
        return not self.missing and not self.unfit


def unfit_reason(artifact: str, record: Record) -> str | None:
    """Why a record that is there cannot be given to the model of its set, in one sentence; None when it can."""
    if isinstance(record, AudioRecord) and record.states_TLC is None:
        return (
            f"{artifact} was made by {record.backend}, which is no speech encoder, and Wan2.2-S2V takes wav2vec2 "
            "states: run again with --set audio.backend=wav2vec2"
        )
    if isinstance(record, TextRecord):
        return unfit_text(record)
    if isinstance(record, LatentsRecord):
        return unfit_latents(record)
    return None


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
    reasons: list[str] = []
    for name in CONDITIONING_SETS[conditioning_set]:
        record = clip.get(name)
        if record is None:
            missing.append(name)
        elif reason := unfit_reason(name, record):
            unfit.append(name)
            reasons.append(reason)
        else:
            present.append(name)
    return Coverage(tuple(present), tuple(missing), tuple(unfit), tuple(reasons))

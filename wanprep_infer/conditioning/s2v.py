"""What a stored clip gives Wan2.2-S2V: states of its sound, text, reference picture, and pose where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from schemas import AudioRecord, LatentsRecord
from schemas.tensor import Tensor
from wanprep.errors import MediaError
from wanprep.key import file_digest
from wanprep.media.image import fit_s2v, read_image
from wanprep.media.source import is_remote, local_path
from wanprep.media.speech_frames import VIDEO_RATE, bucket
from wanprep.store.clip import MissingArtifact, StoredClip
from wanprep_infer.conditioning.s2v_rules import (
    NEGATIVE_PROMPT,
    POSE,
    silence,
    smallness,
    sound_seconds,
    unfit_audio,
    unfit_negative,
    unfit_pose,
    unfit_reference,
)
from wanprep_infer.conditioning.text_check import unfit_text
from wanprep_infer.conditioning.unfit import UnfitConditioning
from wanprep_infer.s2v.settings import S2VSettings
from wanprep_infer.s2v.timing import plan_of

if TYPE_CHECKING:
    from schemas import NegativeTextRecord, TextRecord

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class S2VConditioning:
    """One clip's conditioning, opened for one choice of settings. Large tensors are memory maps: of the sound's states
    a generation reads one clip's part at a time."""

    clip_id: str
    keys: Mapping[str, str]  # artifact -> key, of all that is used
    audio_TLC: Tensor  # [frames at 30 a second, 25, channels], as stored
    audio_seconds: float
    text_LC: Floats  # [tokens, channels]
    negative_LC: Floats | None  # None: guidance is off
    reference: LatentsRecord
    pose: LatentsRecord | None = None
    settings: S2VSettings = field(default_factory=S2VSettings)
    reference_uri: str | None = None  # the picture that `reference` was made of
    reference_digest: str | None = None
    sound_uri: str | None = None  # the file that the states were made of
    sound_start: float = 0.0  # seconds after its first sample, or first picture
    warnings: tuple[str, ...] = ()  # what the user should hear of, one sentence each

    @classmethod
    def from_clip(cls, clip: StoredClip, settings: S2VSettings | None = None) -> S2VConditioning:
        """The conditioning of a stored clip; reads no large tensor.

        Raises:
            UnfitConditioning: an artifact is missing or not what the model was trained with, or they do not fit
                together; one sentence that says what makes it right.
        """
        settings = settings or S2VSettings()
        audio: AudioRecord = _artifact(clip, "audio")
        text: TextRecord = _artifact(clip, "text")
        reference: LatentsRecord = _artifact(clip, "reference_latents")
        negative: NegativeTextRecord | None = None
        if settings.guided:
            negative = _artifact(clip, "negative_text", "; or take guidance 1, which needs none")
        _check(clip, unfit_audio(audio) or unfit_text(text) or unfit_reference(reference))
        if negative is not None:
            _check(clip, unfit_text(negative) or unfit_negative(negative))
        pose, why_no_pose = _pose(clip, settings)
        if pose is not None:
            _check(clip, unfit_pose(pose, reference, settings))
        assert audio.states_TLC is not None
        record = clip.record
        seconds, why_so_long = sound_seconds(record, audio)
        used = ("audio", "text", "reference_latents", *(("negative_text",) if negative else ()))
        found = cls(
            clip_id=clip.id,
            keys={name: record.keys[name] for name in (*used, *((POSE,) if pose else ()))},
            audio_TLC=audio.states_TLC,
            audio_seconds=seconds,
            text_LC=np.array(text.states_LC, np.float32),
            negative_LC=None if negative is None else _negative_LC(negative),
            reference=reference,
            pose=pose,
            settings=settings,
            reference_uri=record.reference,
            reference_digest=record.reference_digest,
            sound_uri=record.audio or record.video,
            sound_start=record.start,
            warnings=(*smallness(reference), *silence(audio), *why_so_long, *why_no_pose),
        )
        if not found.frames:
            raise UnfitConditioning(
                f"clip {clip.id}: its sound of {seconds:.3f} s is too short for a frame; give it longer sound"
                + (", or take opening hold" if settings.opening == "cut" else "")
            )
        return found if pose is None else found._with_pose_warnings(pose)

    @property
    def width(self) -> int:
        """Pixels."""
        return self.reference.width

    @property
    def height(self) -> int:
        """Pixels."""
        return self.reference.height

    @property
    def fps(self) -> Fraction:
        """16: what the model was trained at."""
        return Fraction(int(VIDEO_RATE))

    @property
    def frames(self) -> int:
        """Of the whole video, with the settings that this was opened for."""
        return plan_of(self, self.settings).frames

    def audio_LCT(self, clip: int) -> Floats:
        """States of the sound for each frame of a clip, float32 [25, channels, frames_per_clip]; zeros after its end.

        Reads the clip's part of the store's file alone.
        """
        size = self.settings.frames_per_clip
        found = bucket(len(self.audio_TLC), frames_per_clip=size)
        part_TLC = found.of(self.audio_TLC, slice(clip * size, (clip + 1) * size))
        return np.ascontiguousarray(np.asarray(part_TLC, np.float32).transpose(1, 2, 0))

    def reference_latents_CTHW(self) -> Floats:
        """The reference picture's latent frame, whitened, float32 [16, 1, height/8, width/8]."""
        return self.reference.segment_CTHW(0, whitened=True)

    def pose_latents_CTHW(self, clip: int) -> Floats | None:
        """A clip's pose latents, whitened, float32 [16, frames_per_clip/4, height/8, width/8]: of its segment all but
        the first latent frame. None: there is no pose, or it has ended."""
        if self.pose is None or clip >= self.pose.segments:
            return None
        return np.ascontiguousarray(self.pose.segment_CTHW(clip, whitened=True)[:, 1:])

    def reference_pixels_CHW(self) -> Floats:
        """The reference picture as it was coded, float32 [3, height, width] in -1 to 1.

        Raises:
            UnfitConditioning: the file is gone, or is not the one that the latents were made of.
        """
        uri = self.reference_uri
        again = "put it back, or run `wanprep run` again"
        if uri is None:
            raise UnfitConditioning(
                f"clip {self.clip_id}: has no reference picture, and start_from_reference needs it"
            )
        try:
            if (
                self.reference_digest
                and not is_remote(uri)
                and file_digest(local_path(uri)) != self.reference_digest
            ):
                raise UnfitConditioning(
                    f"clip {self.clip_id}: {uri} is not the picture that its latents were made of: {again}"
                )
            rgb_HWC = fit_s2v(read_image(uri), (self.width, self.height))
        except (MediaError, OSError) as error:
            raise UnfitConditioning(
                f"clip {self.clip_id}: start_from_reference needs its reference picture, and {error}: {again}"
            ) from error
        return np.asarray(rgb_HWC.transpose(2, 0, 1), np.float32) / np.float32(127.5) - np.float32(1)

    def _with_pose_warnings(self, pose: LatentsRecord) -> S2VConditioning:
        shown = plan_of(self, self.settings).clips * self.settings.frames_per_clip
        posed, wanted = pose.frames / VIDEO_RATE, min(shown / VIDEO_RATE, self.audio_seconds)
        if abs(posed - wanted) < 1 / VIDEO_RATE:
            return self
        if posed < wanted:
            text = (
                f"the pose ends at {posed:.2f} s and the sound at {wanted:.2f} s: nobody is posed after that"
            )
        else:
            text = (
                f"the pose lasts {posed:.2f} s and the sound {wanted:.2f} s: the rest of the pose is not used"
            )
        return replace(self, warnings=(*self.warnings, text))


def _artifact(clip: StoredClip, name: str, otherwise: str = "", *, preset: str = "s2v") -> Any:
    """An artifact that is needed."""
    try:
        return getattr(clip, name)
    except MissingArtifact as error:
        # What was tried and did not come about would not the next time either.
        how = "mend that, then run" if name in clip.record.keys else "make it with"
        raise UnfitConditioning(
            f"{error}; Wan2.2-S2V needs {name}: {how} `wanprep run --preset {preset}`{otherwise}"
        ) from error


def _check(clip: StoredClip, why_not: str | None) -> None:
    if why_not is not None:
        raise UnfitConditioning(f"clip {clip.id}: {why_not}")


def _negative_LC(record: NegativeTextRecord) -> Floats:
    return np.array(record.states_of(NEGATIVE_PROMPT), np.float32)


def _pose(clip: StoredClip, settings: S2VSettings) -> tuple[LatentsRecord | None, tuple[str, ...]]:
    """The pose, if there is one and it is wanted; and what to say where it is not to be had."""
    if settings.pose == "none":
        return None, ()
    if settings.pose == "required":
        return _artifact(clip, POSE, "; or take pose none", preset="s2v-pose"), ()
    record: LatentsRecord | None = clip.get(POSE)
    if record is not None or POSE not in clip.record.keys or clip.record.video is None:
        return record, ()
    try:
        return getattr(clip, POSE), ()
    except MissingArtifact as error:
        return None, (f"generated without pose: {str(error).removeprefix(f'clip {clip.id}: ')}",)

"""Which clips, frames and sound a generation has. Numbers alone: no model is needed to plan."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wanprep.media.speech_frames import (
    SAMPLE_RATE,
    VIDEO_RATE,
    bucket,
    encoder_steps,
    interpolated_length,
)
from wanprep_infer.s2v.settings import S2VSettings

if TYPE_CHECKING:
    from wanprep_infer.conditioning.s2v import S2VConditioning
    from wanprep_infer.output.video_file import Sound

#: Frames of the first clip that the official code throws away: the still reference latent before it disturbs them.
OPENING_FRAMES = 3


@dataclass(frozen=True, slots=True)
class S2VPlan:
    """Clips and frames of a generation at 16 frames a second.

    A frame's step is the video frame that its sound states stand for, counted from the sound's start: frame j shows
    step j + `ahead`, but for the first `held` frames, which all show step `held`.
    """

    clips: int
    frames_per_clip: int
    frames: int  # of the whole video
    skipped: int  # first frames of the first clip that are not shown as they were decoded
    held: int  # of these, how many the first one that is shown stands for
    in_sync: bool  # whether the sound is moved along with what is left out

    @property
    def ahead(self) -> int:
        """Steps by which the picture runs ahead of its own place in the video."""
        return self.skipped - self.held

    @property
    def seconds(self) -> float:
        return self.frames / VIDEO_RATE

    def step_of(self, frame: int) -> int:
        """The step of the sound that a frame of the video shows.

        Raises:
            IndexError: the video has no such frame.
        """
        if not 0 <= frame < self.frames:
            raise IndexError(f"frame {frame} of a video of {self.frames}")
        return max(frame, self.held) + self.ahead

    def frames_of(self, clip: int) -> int:
        """How many frames of the video a clip makes; the last clip is cut where the sound ends."""
        first = self.frames_per_clip - self.ahead  # of clip 0
        start = 0 if clip == 0 else first + (clip - 1) * self.frames_per_clip
        stop = first + clip * self.frames_per_clip
        return max(0, min(stop, self.frames) - start)


def plan(features: int, seconds: float, settings: S2VSettings) -> S2VPlan:
    """The plan for sound of `features` state frames (at 30 a second) that lasts `seconds`.

    official: clips by the official rule, int(features / (frames_per_clip * 1.875)) + 1, all their frames but the first
    three. synced: no clip whose frames have no sound at all, and frames up to the sound's end; at the last clip's end
    less than a frame's worth of sound may be left over.
    """
    size = settings.frames_per_clip
    skipped = OPENING_FRAMES if settings.drops_first_motion else 0
    if settings.compat == "official":
        clips = _at_most(settings.clips, bucket(features, frames_per_clip=size).clips)
        return S2VPlan(clips, size, clips * size - skipped, skipped, 0, in_sync=False)
    # States may go on after the sound, made of silence that fills it up.
    heard = min(features, interpolated_length(encoder_steps(round(seconds * SAMPLE_RATE))))
    sounding = int(bucket(heard, frames_per_clip=size).sounding_T.sum())
    clips = _at_most(settings.clips, math.ceil(sounding / size))
    # Rounded to microseconds: 5.0 s must not become 81 frames by the last bit.
    steps = min(clips * size, math.ceil(round(seconds * VIDEO_RATE, 5)))
    held = skipped if settings.opening != "cut" else 0
    if settings.opening == "keep":
        skipped = held = 0
    return S2VPlan(clips, size, max(0, steps - (skipped - held)), skipped, held, in_sync=True)


def _at_most(wanted: int | None, available: int) -> int:
    return available if wanted is None else min(wanted, available)


def plan_of(conditioning: S2VConditioning, settings: S2VSettings) -> S2VPlan:
    """The plan for a clip's conditioning."""
    return plan(len(conditioning.audio_TLC), conditioning.audio_seconds, settings)


def sound_of(conditioning: S2VConditioning, settings: S2VSettings) -> Sound | None:
    """The sound that belongs under the video, from the file that the clip's states were made of; None: it is not known.

    With synced, what the picture leaves out at the beginning the sound leaves out too. It ends with the picture.
    """
    from wanprep_infer.output.video_file import Sound

    if conditioning.sound_uri is None:
        return None
    found = plan_of(conditioning, settings)
    cut = found.ahead / VIDEO_RATE if found.in_sync else 0.0
    seconds = min(conditioning.audio_seconds - cut, found.seconds)
    return Sound(conditioning.sound_uri, conditioning.sound_start + cut, seconds)

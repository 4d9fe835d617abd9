"""What of a sound-to-video generation can be chosen."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from wanprep.media.speech_frames import FRAMES_PER_CLIP


class S2VSettings(BaseModel):
    """How Wan2.2-S2V generates. Numbers are those of the Wan2.2 official code where nothing else is said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    compat: Literal["synced", "official"] = Field(
        default="synced",
        description="synced: picture and sound in step, no clip after the sound's end, the video as long as the "
        "sound. official: as Wan's own code; the picture leads the sound by 187.5 ms, and sound just over a whole "
        "number of clips costs one more, of silence.",
    )
    opening: Literal["hold", "keep", "cut"] = Field(
        default="hold",
        description="With synced, the first 3 frames, which Wan's code throws away: hold shows the fourth in their "
        "place and loses nothing of the sound; keep shows them as decoded, reported as blurred; cut leaves them out "
        "and the sound's first 187.5 ms with them.",
    )
    steps: int = Field(
        default=40,
        ge=1,
        le=1000,
        description="Denoising steps a clip; time grows with them, fewer lose detail and motion.",
    )
    shift: float = Field(
        default=3.0,
        gt=0,
        le=100,
        description="How far the steps lean towards high noise: more settles layout and motion, less fine detail.",
    )
    guidance: float = Field(
        default=4.5,
        ge=0,
        le=50,
        description="How strongly text and sound are followed, both together. Above 1 every step runs the model twice; "
        "high values oversaturate.",
    )
    solver: Literal["unipc", "dpm++"] = Field(
        default="unipc",
        description="unipc holds up with fewer steps; dpm++ is the official code's other choice.",
    )
    frames_per_clip: int = Field(
        default=FRAMES_PER_CLIP,
        ge=4,
        le=120,
        multiple_of=4,
        description="Frames made together: 80 (5 s) is what the model was trained on; fewer take less memory and have "
        "more seams. Pose latents in the store must be made for the same number.",
    )
    clips: int | None = Field(
        default=None,
        ge=1,
        description="Clips at most; fewer than the sound fills cut the video short. none: all of the sound.",
    )
    start_from_reference: bool = Field(
        default=False,
        description="Have the first frame continue from the reference picture: steadier identity, less freedom to "
        "move at the start.",
    )
    drop_first_motion: bool = Field(
        default=True,
        description="Give the first clip no history, as the official code does. Without, it continues from grey frames "
        "and keeps its first 3 frames.",
    )
    keep_keys_values: bool = Field(
        default=True,
        description="Keep every block's keys and values of text and sound: a step takes less time, and they take 0.9 "
        "GB of the 14B model in bfloat16 with guidance. The frames are the same.",
    )
    pose: Literal["auto", "required", "none"] = Field(
        default="auto",
        description="Whether stored pose latents steer the body: auto takes them where the clip has some; without, "
        "text and sound alone decide.",
    )

    @property
    def drops_first_motion(self) -> bool:
        """Whether the first clip is made without history."""
        return self.drop_first_motion and not self.start_from_reference

    @property
    def guided(self) -> bool:
        """Whether every step also runs the branch of negative text and no sound."""
        return self.guidance > 1

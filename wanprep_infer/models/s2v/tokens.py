"""What a clip's steps share: conditions, and what is made of them once.

Nothing is computed here. The transformer makes tokens at the first step that needs them and keeps them in `kept`, so
that all of it runs where offloading and context parallelism expect it: in the model's own forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from wanprep_infer.models.s2v.audio_encoder import STRIDE
from wanprep_infer.models.s2v.kept import Kept


@dataclass(frozen=True, eq=False)
class TextTokens:
    """A prompt, for all clips of a video and any number of videos."""

    made_for: object  # one transformer's mark
    context_LC: torch.Tensor  # encoder states of the real tokens, at most the model's text_len
    kept: Kept = field(default_factory=Kept)
    projected: Kept = field(default_factory=Kept)  # keys and values by block


@dataclass(frozen=True, eq=False)
class AudioTokens:
    """The sound of one clip; silence (zeros) may be shared by all clips of a length."""

    made_for: object
    audio_LCT: torch.Tensor  # hidden states, one step a video frame
    kept: Kept = field(default_factory=Kept)
    projected: Kept = field(default_factory=Kept)  # keys and values, shift and scale by injector

    @property
    def frames(self) -> int:
        """Latent frames."""
        return self.audio_LCT.shape[-1] // STRIDE


@dataclass(frozen=True, eq=False)
class SceneTokens:
    """What of a clip both guidance branches see alike: pose, reference, history and where all tokens stand."""

    made_for: object
    reference_latents_CTHW: torch.Tensor  # one frame
    motion_latents_CTHW: torch.Tensor | None  # None: no history
    pose_latents_CTHW: torch.Tensor | None
    frames: int  # of the clip's latents
    add_last_motion: int
    kept: Kept = field(default_factory=Kept)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Latent frames, rows and columns."""
        height, width = self.reference_latents_CTHW.shape[-2:]
        return self.frames, height, width


@dataclass(frozen=True, eq=False)
class ClipTokens:
    """All that a clip's steps share, of one guidance branch."""

    text: TextTokens
    audio: AudioTokens
    scene: SceneTokens

    def branch(self, text: TextTokens | None = None, audio: AudioTokens | None = None) -> ClipTokens:
        """The same clip with another text or sound, such as the negative prompt and silence."""
        return replace(self, text=text or self.text, audio=audio or self.audio)


@dataclass(frozen=True, slots=True)
class Span:
    """Which tokens of the sequence are here: all of them, or a rank's share in context parallelism."""

    start: int  # place of the first in the sequence, which video tokens begin
    count: int
    video_total: int  # video tokens of the whole sequence
    per_frame: int  # video tokens of a latent frame

    @property
    def video(self) -> int:
        """Video tokens that are here; they come first."""
        return min(max(self.video_total - self.start, 0), self.count)

    def frames(self) -> tuple[slice, int, int]:
        """The latent frames that the video tokens here belong to, and how many tokens of the first and of the last of
        these frames are elsewhere."""
        first, lead = divmod(self.start, self.per_frame)
        tail = -(lead + self.video) % self.per_frame
        return slice(first, (self.start + self.video + tail) // self.per_frame), lead, tail

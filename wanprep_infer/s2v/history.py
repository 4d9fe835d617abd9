"""The frames that the next clip continues from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wanprep.media.speech_frames import MOTION_FRAMES

if TYPE_CHECKING:
    from torch import Tensor

    from wanprep.models.vae import Vae

_REFERENCE_FRAMES = (
    6  # of the first history that show the reference, when starting from it (Wan2.2 official code)
)


class MotionHistory:
    """The newest 73 frames, float32 [3, 73, height, width] in -1 to 1 on the CPU: mid-grey at first.

    They never pass through 8 bits or a video codec, whose losses would add up from clip to clip.
    """

    def __init__(self, height: int, width: int, reference_CHW: Tensor | None = None) -> None:
        """`reference_CHW`: the picture that the last 6 frames show, to start from it."""
        import torch

        self.frames_CTHW = torch.zeros((3, MOTION_FRAMES, height, width))
        if reference_CHW is not None:
            self.frames_CTHW[:, -_REFERENCE_FRAMES:] = reference_CHW[:, None]

    def add(self, frames_CTHW: Tensor) -> None:
        """Puts a clip's frames behind, [3,T,height,width] of any T."""
        import torch

        newest_CTHW = frames_CTHW[:, -MOTION_FRAMES:]
        kept_CTHW = self.frames_CTHW[:, newest_CTHW.shape[1] :]
        self.frames_CTHW = torch.cat([kept_CTHW, newest_CTHW.to(kept_CTHW)], 1)

    def latents_CTHW(self, vae: Vae, tile: int | None = None) -> Tensor:
        """Whitened latents of all 73 frames, float32 [16, 19, height/8, width/8] on the VAE's device: a causal chain
        of its own, whose first latent frame is the oldest frame alone."""
        return vae.whiten(vae.encode(self.frames_CTHW, tile).float())

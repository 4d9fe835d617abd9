"""What a segment hands on to the next: its last frames, as the decoder gave them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def carried_frames(
    frames_CTHW: Tensor, overlap: int, before_CTHW: Tensor | None = None, *, rounds: bool = True
) -> Tensor:
    """The last `overlap` frames of what has been generated, a tensor of its own, float32 [3, overlap, H, W].

    They never become 8-bit numbers nor go through a video file. Where a segment is so short that it adds fewer frames
    than are handed on, those that were handed to it go before.

    Args:
        frames_CTHW: the new frames of a segment (those that it was handed itself left out), float32, -1 to 1, before
            anything is cut off the clip's end.
        before_CTHW: the frames that were handed to that segment; None: it was the first.
        rounds: to bfloat16, as the Wan2.2 official code does; diffusers does not.
    """
    if frames_CTHW.shape[1] < overlap and before_CTHW is not None:
        frames_CTHW = torch.cat([before_CTHW, frames_CTHW], dim=1)
    last_CTHW = frames_CTHW[:, -overlap:].float()
    return last_CTHW.bfloat16().float() if rounds else last_CTHW.clone()

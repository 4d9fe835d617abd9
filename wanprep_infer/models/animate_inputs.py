"""Text and face tokens of a segment in the lengths that the Animate transformer's blocks take."""

from __future__ import annotations

import torch

# The length that contexts are padded to with zeros, which are attended to (Wan2.2 official code: `text_len`).
TEXT_TOKENS = 512


def padded_context(context_LC: torch.Tensor) -> torch.Tensor:
    """[1, 512, C]: a text of any length up to that, and zeros.

    Raises:
        ValueError: it is longer.
    """
    length = context_LC.shape[0]
    if length > TEXT_TOKENS:
        raise ValueError(f"context_LC is of {length} tokens; the model takes up to {TEXT_TOKENS}")
    return torch.nn.functional.pad(context_LC, (0, 0, 0, TEXT_TOKENS - length))[None]


def with_reference(face_tokens_TNC: torch.Tensor, frames: int) -> torch.Tensor:
    """[1, lt+1, N, C]: zeros in front, which the reference's frame attends to (Wan2.2 official code).

    Args:
        frames: latent frames without the reference's, lt.

    Raises:
        ValueError: the tokens are of another number of frames.
    """
    if face_tokens_TNC.ndim != 3 or face_tokens_TNC.shape[0] != frames:
        raise ValueError(
            f"face tokens are {list(face_tokens_TNC.shape)}; the pose latents are of {frames} latent frames"
        )
    return torch.nn.functional.pad(face_tokens_TNC, (0, 0, 0, 0, 1, 0))[None]

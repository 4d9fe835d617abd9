"""The four mask channels in front of Wan's condition latents: which pixels are known, folded as the VAE folds time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FOLD = 4  # frames of a latent frame after the first


def known_frames(
    frames: int,
    height: int,
    width: int,
    carried: int = 0,
    keep_THW: npt.NDArray[np.floating[Any]] | None = None,
) -> npt.NDArray[np.float32]:
    """What is known in each frame of a segment, float32 [frames, height, width] in 0..1, in latent pixels.

    Args:
        carried: first frames that come whole from the segment before.
        keep_THW: [frames, height, width], 1 where the driving video is kept (replacement); None: nowhere.

    Raises:
        ValueError: `keep_THW` has another shape.
    """
    known_THW = np.zeros((frames, height, width), np.float32)
    if keep_THW is not None:
        if keep_THW.shape != known_THW.shape:
            raise ValueError(f"keep_THW is {keep_THW.shape}: pass {known_THW.shape}")
        known_THW[:] = keep_THW
    known_THW[:carried] = 1
    return known_THW


def mask_channels(known_THW: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
    """The channels, float32 [4, (T-1)/4+1, H, W] of what is known [T,H,W] (Wan2.2 official code).

    All channels of latent frame 0 are frame 0; channel c of latent frame t is frame 4(t-1)+1+c.

    Raises:
        ValueError: T is not 4n+1.
    """
    frames, height, width = known_THW.shape
    if frames % FOLD != 1:
        raise ValueError(f"{frames} frames fold into no latent frames: pass 4n+1")
    first_THW = np.repeat(known_THW[:1], FOLD, axis=0)
    folded = np.concatenate([first_THW, known_THW[1:]]).reshape(-1, FOLD, height, width)
    return np.ascontiguousarray(folded.swapaxes(0, 1), dtype=np.float32)

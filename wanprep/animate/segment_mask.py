"""The mask channels of one segment of a replacement, from the mask of what is generated."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from wanprep.animate.mask_channels import known_frames, mask_channels


def replacement_channels(
    replaced_THW: npt.NDArray[np.bool_] | npt.NDArray[np.floating[Any]], carried: int = 0, stride: int = 8
) -> npt.NDArray[np.float32]:
    """The four mask channels, float32 [4, (T-1)/4+1, H/stride, W/stride] (Wan2.2 official code).

    Args:
        replaced_THW: a segment's T frames in pixels, 1 where the person is generated, 0 where the video is kept.
        carried: first frames that come whole from the segment before: 0 for a clip's first segment, then 1 or 5.
        stride: pixels a latent column and row; of each such cell the first pixel counts (nearest neighbour).

    Raises:
        ValueError: T is not 4n+1, or a side is no multiple of `stride`.
    """
    frames, height, width = replaced_THW.shape
    if height % stride or width % stride:
        raise ValueError(f"a mask of {width}x{height} pixels has no whole cells of {stride}")
    keep_THW = 1 - replaced_THW[:, ::stride, ::stride].astype(np.float32)
    known_THW = known_frames(frames, height // stride, width // stride, carried, keep_THW)
    return mask_channels(known_THW)

"""From a model's float frames to the 8 bits of a video file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from wanprep.errors import WanprepError

if TYPE_CHECKING:
    from torch import Tensor

Rounding = Literal["truncate", "nearest"]


def to_uint8_THWC(frames_CTHW: Tensor, rounding: Rounding) -> npt.NDArray[np.uint8]:
    """Frames as bytes, uint8 [frames, height, width, 3], in a new array on the CPU.

    Args:
        frames_CTHW: float [3, frames, height, width] on any device, -1 to 1; what lies outside is clamped.
        rounding: "truncate" is Wan2.2's official writer, (x + 1) / 2 * 255 without its fraction, which darkens by
            half a level on average; "nearest" does not.

    Raises:
        WanprepError: a frame has values that are not finite numbers.
        ValueError: the frames have another number of axes or channels.
    """
    if frames_CTHW.ndim != 4 or frames_CTHW.shape[0] != 3:
        raise ValueError(
            f"frames of shape {tuple(frames_CTHW.shape)}: [3, frames, height, width] is what is taken"
        )
    _, count, height, width = frames_CTHW.shape
    frames_THWC = np.empty((count, height, width, 3), np.uint8)
    for index in range(count):  # one at a time: a clip in float32 has four times the bytes of the result
        frame_HWC = frames_CTHW[:, index].detach().float().cpu().permute(1, 2, 0)
        if not frame_HWC.isfinite().all():
            raise WanprepError(
                f"frame {index} of those just generated holds values that are not finite numbers: "
                "run again with --precision bfloat16 or float32"
            )
        level_HWC = (frame_HWC.clamp(-1, 1) + 1) / 2 * 255
        if rounding == "nearest":
            level_HWC = level_HWC.round()
        frames_THWC[index] = level_HWC.byte().numpy()
    return frames_THWC

"""Face pixels as Wan2.2-Animate's generator takes them: one segment at a time, from a clip's crops."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from schemas.tensor import BFLOAT16
from wanprep.animate.compat import Compat
from wanprep.animate.face_crop import FACE_SIDE
from wanprep.animate.segments import SEGMENT_FRAMES, segments

PixelRounding: TypeAlias = Literal["bfloat16", "float32"]
Pixels: TypeAlias = npt.NDArray[np.float32]

_AT_ONCE = 16  # crops decoded at a time


class Crops(Protocol):
    """What is needed of a store's `face_crops`."""

    @property
    def frames(self) -> int: ...

    @property
    def size(self) -> int: ...

    def crops_THWC(self, start: int, stop: int) -> npt.NDArray[np.uint8]: ...


def face_pixels_CTHW(crops_THWC: npt.NDArray[np.uint8], rounding: PixelRounding = "bfloat16") -> Pixels:
    """Crops, uint8 [T,H,W,3], as float32 [3,T,H,W] from -1 to 1.

    Under "bfloat16" each value is the nearest one of that type, as the Wan2.2 official code has them; "float32" is
    diffusers' way.
    """
    levels = _levels(rounding)
    frames, height, width, channels = crops_THWC.shape
    pixels_CTHW = np.empty((channels, frames, height, width), np.float32)
    for channel in range(channels):
        # Indices of uint8 are inside a table of 256; "clip" writes in place without a buffer.
        np.take(levels, crops_THWC[..., channel], out=pixels_CTHW[channel], mode="clip")
    return pixels_CTHW


def segment_face_pixels(
    crops: Crops,
    segment: int,
    *,
    length: int = SEGMENT_FRAMES,
    carried: int = 1,
    compat: Compat = "robust",
    rounding: PixelRounding = "bfloat16",
) -> Pixels:
    """The face pixels of one segment: float32 [3, length, size, size] from -1 to 1, size 512 for Animate.

    The clip is padded forwards and backwards until it fills its segments, which share `carried` frames
    (`wanprep.animate.segments`). Only the crops of this segment are decoded, each once.

    Raises:
        IndexError: the clip has no such segment.
        ValueError, OfficialFailure: as `segments` does.
    """
    cut = segments(crops.frames, length, carried, compat)
    if not 0 <= segment < len(cut.windows):
        raise IndexError(f"segment {segment} of a clip that has {len(cut.windows)}")
    start, stop = cut.windows[segment]
    shown_T = cut.indices_T[start:stop]
    pixels_CTHW = np.empty((3, length, crops.size, crops.size), np.float32)
    first, last = int(shown_T.min()), int(shown_T.max()) + 1
    for low in range(first, last, _AT_ONCE):
        high = min(low + _AT_ONCE, last)
        places = np.flatnonzero((shown_T >= low) & (shown_T < high))
        part_CTHW = face_pixels_CTHW(crops.crops_THWC(low, high), rounding)
        pixels_CTHW[:, places] = part_CTHW[:, shown_T[places] - low]
    return pixels_CTHW


def no_face_pixels(length: int = SEGMENT_FRAMES, size: int = FACE_SIDE) -> Pixels:
    """The face of the unconditional half of classifier-free guidance: -1 everywhere, float32 [3,length,size,size]
    (Wan2.2 official code)."""
    return np.full((3, length, size, size), -1, np.float32)


def _levels(rounding: PixelRounding) -> Pixels:
    """The value of each of the 256 levels."""
    levels = np.arange(256, dtype=np.float32) / np.float32(127.5) - np.float32(1)
    return levels.astype(BFLOAT16).astype(np.float32) if rounding == "bfloat16" else levels

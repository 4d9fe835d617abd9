"""Face crops at the size that a model's motion encoder takes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wanprep.animate.face_pixels import Crops
from wanprep.media.image import resize_stretch


class SizedCrops:
    """A clip's crops at `size` pixels a side, scaled by Pillow's Lanczos filter where theirs is another (diffusers'
    WanAnimatePipeline; the Wan2.2 official code takes 512 pixels and no other)."""

    def __init__(self, crops: Crops, size: int) -> None:
        self._crops = crops
        self.size = size

    @property
    def frames(self) -> int:
        return self._crops.frames

    def crops_THWC(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """Frames `start` to `stop` (exclusive) as RGB, uint8 [stop - start, size, size, 3]."""
        crops_THWC = self._crops.crops_THWC(start, stop)
        if self._crops.size == self.size or not len(crops_THWC):
            return crops_THWC.reshape(len(crops_THWC), self.size, self.size, 3)
        return np.stack(
            [resize_stretch(crop_HWC, (self.size, self.size), "lanczos") for crop_HWC in crops_THWC]
        )

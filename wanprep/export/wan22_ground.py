"""What replacement generates anew and what it keeps: the masks and backgrounds of a clip."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from schemas import MaskRecord, ReplaceMaskRecord
from wanprep.animate.mask_grid import augment_mask
from wanprep.media.geometry import Size
from wanprep.media.image import letterbox_box

Pictures = npt.NDArray[np.uint8]
Masks = npt.NDArray[np.uint8]


class StoredReplacement:
    """The masks of the stage `replace_mask`."""

    source = "replace_mask"

    def __init__(self, record: ReplaceMaskRecord) -> None:
        self._record = record
        self.size: Size = (record.width, record.height)
        self.frames = record.frames

    def masks_THW(self, start: int, stop: int) -> Masks:
        """Frames `start` to `stop` (exclusive), 1 where the person is replaced: uint8 [T, height, width]."""
        return self._record.masks_THW(start, stop).view(np.uint8)


class DilatedMask:
    """The subject's mask brought to `size`, dilated and filled by the official numbers."""

    source = "mask"

    def __init__(self, record: MaskRecord, video: Size, size: Size) -> None:
        self._record = record
        self._box = letterbox_box(video, size)
        self.size = size
        self.frames = record.frames

    def masks_THW(self, start: int, stop: int) -> Masks:
        """As of `StoredReplacement`."""
        return np.stack([self._augmented(mask_HW) for mask_HW in self._record.masks_THW(start, stop)])

    def _augmented(self, mask_HW: npt.NDArray[np.bool_]) -> Masks:
        x0, y0, x1, y1 = self._box
        placed_HW = np.zeros((self.size[1], self.size[0]), np.uint8)
        placed_HW[y0:y1, x0:x1] = cv2.resize(
            mask_HW.view(np.uint8), (x1 - x0, y1 - y0), interpolation=cv2.INTER_NEAREST
        )
        return augment_mask(placed_HW)


def grey_THWC(masks_THW: Masks) -> Pictures:
    """Masks as pictures: 255 where the person is replaced, three equal channels."""
    return np.repeat((masks_THW * np.uint8(255))[..., None], 3, axis=3)

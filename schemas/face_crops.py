"""Artifact `face_crops`: the square picture of the subject's face in each frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.pictures import Picture, decode_picture
from schemas.record import Record
from schemas.tensor import TENSOR, Tensor

_LARGEST_SIZE = 4096  # pixels a side of what is decoded


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceCropsRecord(Record):
    """Crops of `size` x `size` pixels, an image file a frame.

    A file with both sides below `size` holds the source's own pixels, from the box's corner rounded down to the
    opposite one rounded up, and is enlarged when it is read; any other is the crop itself. So a face smaller than the
    crop, as most are, is kept exactly in a fraction of the bytes.
    """

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("compat", pa.string(), nullable=False),
            pa.field("codec", pa.string(), nullable=False),
            pa.field("size", pa.int32(), nullable=False),
            pa.field("frames", pa.int64(), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("blocks", TENSOR, nullable=False),
            pa.field("offsets_T", TENSOR, nullable=False),
            pa.field("boxes_TC", TENSOR, nullable=False),
            pa.field("valid_T", TENSOR, nullable=False),
            pa.field("filled_T", TENSOR, nullable=False),
            pa.field("sharpness_T", TENSOR, nullable=False),
            pa.field("face_share", pa.float32(), nullable=False),
            pa.field("mean_sharpness", pa.float32(), nullable=False),
        ]
    )

    compat: str  # official or robust: whose rule the boxes follow
    codec: str  # of the image files: webp-lossless or jpeg
    size: int  # pixels a side of a crop
    frames: int  # T
    width: int  # pixels the boxes are in
    height: int
    blocks: Tensor  # uint8 [bytes]: image files one after the other
    offsets_T: Tensor  # int64 [T+1]
    boxes_TC: Tensor  # float32 [T,4] x0 y0 x1 y1 of what the crop shows, source pixels; zeros: it is black
    valid_T: Tensor  # bool [T]: a face was measured in this frame
    filled_T: Tensor  # bool [T]: none was, and the box comes from the frames around; where neither is, black
    sharpness_T: Tensor  # float32 [T] mean squared Laplacian of the luma (0 to 255), at the crop's size
    face_share: float  # share of frames with a measured face, 0 to 1
    mean_sharpness: float  # over frames with a measured face

    def stored_HWC(self, frame: int) -> Picture:
        """The picture as it is kept, uint8 [H,W,3]: source pixels, or the crop.

        Raises:
            IndexError: there is no such frame.
            ValueError: its block is damaged.
        """
        if not 0 <= frame < self.frames or len(self.offsets_T) != self.frames + 1:
            raise IndexError(f"frame {frame} of a record that has {self.frames}")
        if not 0 < self.size <= _LARGEST_SIZE:
            raise ValueError(f"crops of {self.size} pixels a side are larger than any that are made")
        start, stop = (int(offset) for offset in self.offsets_T[frame : frame + 2])
        return decode_picture(np.ascontiguousarray(self.blocks[start:stop]).tobytes(), self.codec, self.size)

    def crops_THWC(self, start: int = 0, stop: int | None = None) -> Picture:
        """Frames `start` to `stop` (exclusive) as RGB, uint8 [stop - start, size, size, 3]; only these are decoded.

        Raises:
            IndexError: the frames asked for are not in the record.
            ValueError: a block is damaged.
        """
        stop = self.frames if stop is None else stop
        if not 0 <= start <= stop <= self.frames:
            raise IndexError(f"frames {start}:{stop} of a record that has {self.frames}")
        boxes_TC = np.asarray(self.boxes_TC[start:stop], np.float64)
        crops = [self.stored_HWC(start + row) for row in range(stop - start)]
        if not crops:
            return np.zeros((0, self.size, self.size, 3), np.uint8)
        return np.stack(
            [enlarge(crop_HWC, box_C, self.size) for crop_HWC, box_C in zip(crops, boxes_TC, strict=True)]
        )


def is_kept_small(pixels_HWC: npt.NDArray[np.uint8], size: int) -> bool:
    """Whether source pixels [H,W] or [H,W,C] are kept as they are for crops of `size`."""
    return max(pixels_HWC.shape[:2]) < size


def enlarge(pixels_HWC: Picture, box_C: npt.NDArray[np.floating[Any]], size: int) -> npt.NDArray[np.uint8]:
    """The crop, uint8 [size,size] with the channels given, of a picture as it is kept; bilinear, by OpenCV.

    Args:
        pixels_HWC: uint8 [H,W] or [H,W,C], whose corner is the box's rounded down. As large as the crop: returned
            as it is.
        box_C: float [4] x0 y0 x1 y1 in pixels. One without fractions is the whole picture stretched, which is the
            Wan2.2 official crop bit for bit; of others the border is repeated for what lies beyond the picture.
    """
    import cv2

    if not is_kept_small(pixels_HWC, size):
        return np.asarray(pixels_HWC, np.uint8)
    corner = np.floor(box_C)
    if (corner == box_C).all():
        return np.asarray(cv2.resize(pixels_HWC, (size, size)), np.uint8)
    scale = (box_C[2:] - box_C[:2]) / size
    # Pixel centres are at halves: crop pixel u shows (u + 0.5) * scale from the box's edge.
    shift = 0.5 * scale - 0.5 + box_C[:2] - corner[:2]
    to_source = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    return np.asarray(
        cv2.warpAffine(
            pixels_HWC,
            to_source,
            (size, size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )

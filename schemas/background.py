"""Artifact `background`: what replacement keeps of the driving video, as pictures at the size that is generated at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from schemas.pictures import Picture, decode_picture
from schemas.record import Record
from schemas.tensor import TENSOR, Tensor

_LONGEST_SIDE = 8192  # pixels of what is decoded: the most that sizes are configured to


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundRecord(Record):
    """The driving video letterboxed and black where the person is replaced, an image file a frame (Wan2.2 official
    rule). With it a store serves replacement without its videos."""

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("codec", pa.string(), nullable=False),
            pa.field("frames", pa.int64(), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("blocks", TENSOR, nullable=False),
            pa.field("offsets_T", TENSOR, nullable=False),
        ]
    )

    codec: str  # of the image files: webp-lossless or jpeg
    frames: int  # T
    width: int  # pixels of the pictures that are generated
    height: int
    blocks: Tensor  # uint8 [bytes]: image files one after the other
    offsets_T: Tensor  # int64 [T+1]

    def frames_THWC(self, start: int = 0, stop: int | None = None) -> Picture:
        """Frames `start` to `stop` (exclusive) as RGB, uint8 [stop - start, height, width, 3]; only these are decoded.

        Raises:
            IndexError: the frames asked for are not in the record.
            ValueError: a block is damaged, or of a picture of another size.
        """
        stop = self.frames if stop is None else stop
        if not 0 <= start <= stop <= self.frames or len(self.offsets_T) != self.frames + 1:
            raise IndexError(f"frames {start}:{stop} of a record that has {self.frames}")
        if not (0 < self.width <= _LONGEST_SIDE and 0 < self.height <= _LONGEST_SIDE):
            raise ValueError(f"pictures of {self.width}x{self.height} are larger than any that are made")
        frames_THWC = np.empty((stop - start, self.height, self.width, 3), np.uint8)
        offsets = [int(offset) for offset in self.offsets_T[start : stop + 1]]
        for row in range(stop - start):
            data = np.ascontiguousarray(self.blocks[offsets[row] : offsets[row + 1]]).tobytes()
            picture_HWC = decode_picture(data, self.codec, max(self.width, self.height))
            if picture_HWC.shape != frames_THWC.shape[1:]:
                high, wide = picture_HWC.shape[:2]
                raise ValueError(
                    f"frame {start + row} is a picture of {wide}x{high}, not of {self.width}x{self.height}"
                )
            frames_THWC[row] = picture_HWC
        return frames_THWC

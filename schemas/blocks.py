"""Frames compressed one by one: a byte tensor of Zstandard blocks and the offset of each.

Masks and quantised flow shrink 10 to 100 times under Zstandard and are exact after it; a block a frame keeps
random access. Any Zstandard decoder reads a block: `data[offsets[i]:offsets[i + 1]]`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.tensor import Tensor

_LEVEL = 3
_MAX_FRAME_BYTES = 2 * 16_384**2  # two bytes for each pixel of the largest picture that is taken in


def compress(frame: npt.NDArray[Any]) -> bytes:
    """One frame's C-contiguous bytes as a Zstandard block."""
    codec = pa.Codec("zstd", compression_level=_LEVEL)
    return bytes(codec.compress(np.ascontiguousarray(frame).tobytes(), asbytes=True))


def decompress(
    data: Tensor, offsets: Tensor, start: int, stop: int, shape: tuple[int, ...], dtype: Any
) -> npt.NDArray[Any]:
    """Frames `start` to `stop` (exclusive) as one array of shape [stop - start, *shape].

    Raises:
        IndexError: the frames asked for are not in the record.
        ValueError: a frame is larger than any picture that is decoded.
    """
    count = len(offsets) - 1
    if not 0 <= start <= stop <= count:
        raise IndexError(f"frames {start}:{stop} of a record that has {count}")
    if (nbytes := math.prod(shape) * np.dtype(dtype).itemsize) > _MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {nbytes} bytes is larger than any picture")
    codec = pa.Codec("zstd")
    frames = np.empty((stop - start, *shape), dtype=dtype)
    for i in range(start, stop):
        block = np.ascontiguousarray(data[int(offsets[i]) : int(offsets[i + 1])]).tobytes()
        raw = codec.decompress(block, decompressed_size=frames[0].nbytes, asbytes=True)
        frames[i - start] = np.frombuffer(raw, dtype=dtype).reshape(shape)
    return frames


def pack_bits(mask_HW: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """A bool picture [H,W] as bits, each row padded to whole bytes: uint8 [H, ceil(W/8)]."""
    return np.packbits(mask_HW, axis=-1)


def unpack_bits(bits_THW: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.bool_]:
    """The inverse of `pack_bits` on any number of leading axes: bool [..., H, W]."""
    return np.unpackbits(bits_THW, axis=-1, count=width).view(np.bool_)

"""Pictures as image files one after the other, for `schemas.blocks`-like columns: any image library reads a block."""

from __future__ import annotations

import io
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Picture: TypeAlias = npt.NDArray[np.uint8]
PictureCodec: TypeAlias = Literal["webp-lossless", "jpeg"]

_FORMATS = {"webp-lossless": "WEBP", "jpeg": "JPEG"}


def encode_picture(rgb_HWC: Picture, codec: PictureCodec, quality: int = 95) -> bytes:
    """An RGB picture, uint8 [H,W,3], as the bytes of an image file.

    "webp-lossless" is exact, at the codec's quickest setting: the slowest is a quarter smaller and takes seven times
    as long (measured). "jpeg" has colour at full resolution; `quality` is 1 to 100.
    """
    from PIL import Image

    options: dict[str, Any] = (
        {"lossless": True, "quality": 0, "method": 0}
        if codec == "webp-lossless"
        else {"quality": quality, "subsampling": 0}
    )
    written = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb_HWC)).save(written, _FORMATS[codec], **options)
    return written.getvalue()


def decode_picture(data: bytes, codec: str, longest_side: int) -> Picture:
    """The picture of `encode_picture`, uint8 [H,W,3].

    Raises:
        ValueError: the bytes are no picture of that codec, or one with a side over `longest_side` pixels.
    """
    from PIL import Image, UnidentifiedImageError

    if codec not in _FORMATS:
        raise ValueError(f"{codec!r:.40} is no picture codec of a store ({', '.join(_FORMATS)})")
    try:
        with Image.open(io.BytesIO(data), formats=[_FORMATS[codec]]) as picture:
            if max(picture.size) > longest_side:
                wide, high = picture.size
                raise ValueError(
                    f"a picture of {wide}x{high} where {longest_side} pixels a side are the most"
                )
            return np.array(picture.convert("RGB"), np.uint8)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"a block is no {codec} picture ({error})") from error

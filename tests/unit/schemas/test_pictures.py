"""Image files as blocks: exact where they say so, and nothing but pictures of the codec is read."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from schemas.pictures import decode_picture, encode_picture

NOISE = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)


@pytest.mark.parametrize("shape", [(37, 53), (1, 1), (1, 9)])
def test_lossless_is_lossless(shape: tuple[int, int]) -> None:
    picture = NOISE[: shape[0], : shape[1]]
    np.testing.assert_array_equal(
        decode_picture(encode_picture(picture, "webp-lossless"), "webp-lossless", 64), picture
    )


def test_jpeg_keeps_colour_at_full_resolution() -> None:
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2] = (200, 40, 40)
    stripes[:, 1::2] = (40, 40, 200)
    found = decode_picture(encode_picture(stripes, "jpeg", 95), "jpeg", 64)
    assert np.abs(found.astype(int) - stripes).mean() < 8


@pytest.mark.parametrize(
    ("data", "codec", "longest_side", "message"),
    [
        (b"", "jpeg", 64, "no jpeg picture"),
        (b"\xff\xd8\xff nonsense", "jpeg", 64, "no jpeg picture"),
        (encode_picture(NOISE, "jpeg")[:-300], "jpeg", 64, "no jpeg picture"),
        (encode_picture(NOISE, "jpeg"), "webp-lossless", 64, "no webp-lossless picture"),
        (encode_picture(NOISE, "jpeg"), "jpeg", 50, "53x37 where 50 pixels"),
        (encode_picture(NOISE, "jpeg"), "png", 64, "'png' is no picture codec"),
    ],
)
def test_what_is_refused(data: bytes, codec: str, longest_side: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_picture(data, codec, longest_side)


def test_a_picture_of_a_million_columns_is_not_decoded() -> None:
    written = io.BytesIO()
    Image.new("1", (60_000, 1)).save(written, "JPEG")
    with pytest.raises(ValueError, match="60000x1"):
        decode_picture(written.getvalue(), "jpeg", 512)

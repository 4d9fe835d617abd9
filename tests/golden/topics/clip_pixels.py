"""CLIP's normalised square of the official path."""

from __future__ import annotations

import numpy as np
import pytest

from golden.golden_file import GoldenFile
from golden.topic import Topic


def check_pixels(file: GoldenFile, case: str) -> None:
    pytest.importorskip("torch")
    from stages.image_embed.pixels import stretched_CHW

    fields = file.case(case)
    *_, channels, height, width = fields["shape"].tolist()  # a batch of one in front
    pixels_CHW = stretched_CHW(fields["image"], side=width).numpy()
    assert pixels_CHW.shape == (channels, height, width)
    assert pixels_CHW.dtype == np.float32
    wanted_CHW = fields["pixel_values_sub4"]
    np.testing.assert_allclose(pixels_CHW[:, ::4, ::4], wanted_CHW, rtol=0, atol=1e-4)
    np.testing.assert_allclose(pixels_CHW.mean(axis=(1, 2)), fields["mean"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(pixels_CHW.std(axis=(1, 2), ddof=1), fields["std"], rtol=0, atol=1e-4)


TOPICS = [Topic(files=("animate/clip_pixels*.npz",), check=check_pixels)]

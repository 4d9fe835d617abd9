"""Textured pictures that move in a known way."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Gray = npt.NDArray[np.uint8]
WIDTH, HEIGHT = 320, 240


def texture(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> Gray:
    """Noise with detail at all scales, as in a photograph."""
    random = np.random.default_rng(seed)
    picture = np.zeros((height, width), np.float32)
    for scale in (2, 4, 8, 16, 32):
        coarse = random.standard_normal((height // scale + 2, width // scale + 2)).astype(np.float32)
        picture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * scale**0.5
    low, high = np.percentile(picture, (1, 99))
    return (np.clip((picture - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def moved(picture: Gray, x: float = 0.0, y: float = 0.0, zoom: float = 1.0) -> Gray:
    """The picture after its content moved by x, y pixels and grew by `zoom` about the centre."""
    height, width = picture.shape
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    matrix = np.array([[zoom, 0, x + centre_x * (1 - zoom)], [0, zoom, y + centre_y * (1 - zoom)]])
    return np.asarray(
        cv2.warpAffine(
            picture, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        ),
        dtype=np.uint8,
    )

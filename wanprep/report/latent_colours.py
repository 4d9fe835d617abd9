"""Latents as colours: their three strongest directions as red, green and blue."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from schemas import LatentsRecord

_SPREAD = 2.2  # standard deviations from mid-grey to full colour: few places saturate


def latent_colours(record: LatentsRecord, row: int) -> npt.NDArray[np.uint8]:
    """One latent frame as a small picture, uint8 [height/stride, width/stride, 3].

    Directions are those of the record's first latent frame, so that colours keep their meaning over the clip.

    Raises:
        IndexError: there is no such latent frame.
    """
    count = record.latents_TCHW.shape[0]
    if not 0 <= row < count:
        raise IndexError(f"latent frame {row} of a record that has {count}")
    first_PC = _pixels_PC(record, 0)
    mean_C = first_PC.mean(axis=0)
    _, scales_K, axes_KC = np.linalg.svd(first_PC - mean_C, full_matrices=False)
    spread_K = np.maximum(scales_K[:3] / np.sqrt(len(first_PC)), 1e-6)
    colours_PK = (_pixels_PC(record, row) - mean_C) @ axes_KC[:3].T / spread_K
    height, width = record.latents_TCHW.shape[2:]
    colours_HWC = np.full((height, width, 3), 127.5)
    colours_HWC[..., : len(spread_K)] += (colours_PK * (127.5 / _SPREAD)).reshape(height, width, -1)
    colours: npt.NDArray[np.uint8] = np.clip(np.rint(colours_HWC), 0, 255).astype(np.uint8)
    return colours


def _pixels_PC(record: LatentsRecord, row: int) -> npt.NDArray[np.float64]:
    """A latent frame whitened, a pixel a row: float64 [height * width, channels]."""
    latents_CHW = np.asarray(record.latents_TCHW[row : row + 1], np.float32)[0].astype(np.float64)
    whitened_CHW = (latents_CHW - np.asarray(record.latent_mean_C, np.float64)[:, None, None]) / np.asarray(
        record.latent_std_C, np.float64
    )[:, None, None]
    pixels_PC: npt.NDArray[np.float64] = whitened_CHW.reshape(len(latents_CHW), -1).T
    return pixels_PC

"""Decodes stored latents back to pictures, for people to look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from schemas import LatentsRecord
from wanprep.errors import UsageError
from wanprep.models.dct_codec import CODEC_NAMES, dct_codec, soften_cells, to_bytes

if TYPE_CHECKING:
    from wanprep.models.vae import Vae

_PREVIEW_FRAMES = 81  # as many as Wan generates at once


def decode_preview(
    record: LatentsRecord, *, segment: int = 0, frames: int = _PREVIEW_FRAMES, vae: Vae | None = None
) -> npt.NDArray[np.uint8]:
    """The first `frames` pictures of a segment as frames_THWC: uint8 RGB [T, height, width, 3].

    Args:
        vae: the VAE that made the latents; the codec without weights needs none.

    Raises:
        UsageError: the latents need a VAE and none, or one with other latents, was given.
        IndexError: there is no such segment.
    """
    latent_frames = 1 + max(0, frames - 1 + record.stride_time - 1) // record.stride_time
    parts = list(decode_frames(record, segment=segment, latent_frames=latent_frames, vae=vae))
    return np.concatenate(parts)[:frames]


def decode_frames(
    record: LatentsRecord,
    *,
    segment: int = 0,
    latent_frames: int | None = None,
    vae: Vae | None = None,
) -> Iterator[npt.NDArray[np.uint8]]:
    """A segment's pictures, a latent frame at a time: uint8 RGB [1 or 4, height, width, 3].

    A codec's pictures are softened at the edges of its cells. Args and errors as of `decode_preview`.
    """
    if not 0 <= segment < record.segments:
        raise IndexError(f"segment {segment} of a record that has {record.segments}")
    if record.vae not in CODEC_NAMES:
        if vae is None:
            raise UsageError(
                f"latents of {record.vae} are decoded by that VAE: load it (wanprep.models.vae.load_vae)"
            )
        if vae.channels != record.channels or vae.stride != record.stride_space:
            raise UsageError(
                f"latents of {record.vae} have {record.channels} channels, one for {record.stride_space} pixels; "
                f"the VAE given has {vae.channels}, one for {vae.stride}"
            )
    count = record.latent_frames if latent_frames is None else min(latent_frames, record.latent_frames)
    start = segment * record.latent_frames
    rows = (record.latents_TCHW[row : row + 1] for row in range(start, start + count))
    return (
        _of_codec(record, rows)
        if vae is None or record.vae in CODEC_NAMES
        else _of_vae(vae, record.tile, rows)
    )


def _of_codec(
    record: LatentsRecord, rows: Iterator[npt.NDArray[np.generic]]
) -> Iterator[npt.NDArray[np.uint8]]:
    decoder = dct_codec(record.vae).decoder()
    for latents_TCHW in rows:
        pixels_THWC = decoder.add(np.asarray(latents_TCHW, np.float32))
        yield to_bytes(soften_cells(pixels_THWC, record.stride_space))


def _of_vae(
    vae: Vae, tile: int | None, rows: Iterator[npt.NDArray[np.generic]]
) -> Iterator[npt.NDArray[np.uint8]]:
    import torch

    decoder = vae.decoder(tile)
    for latents_TCHW in rows:
        latents_CTHW = torch.tensor(np.asarray(latents_TCHW, np.float32)).movedim(0, 1)
        yield to_bytes(decoder.add(latents_CTHW).movedim(0, -1).float().cpu().numpy())
    yield to_bytes(decoder.finish().movedim(0, -1).float().cpu().numpy())

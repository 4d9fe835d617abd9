"""The autoencoders behind one face: pictures in, latents out."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from stages.latents.config import EncoderConfig
from wanprep.models.dct_codec import DctEncoder, dct_codec

#: Pictures [T, height, width, 3]: uint8, or float32 in -1 to 1.
Frames: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.float32]

CODECS = {"dct-z16": "dct-z16-v1", "dct-z48": "dct-z48-v1"}


class ClipEncoder(Protocol):
    """The encoder of one segment. `tile` is the side of its squares in pixels; None: whole pictures."""

    tile: int | None

    def add(self, frames_THWC: Frames) -> npt.NDArray[np.float32]:
        """Takes the next frames; returns the latent frames [t,C,h,w] that are done."""

    def finish(self) -> npt.NDArray[np.float32]:
        """Ends the segment; returns the latent frames that were not returned before."""


class Coder(Protocol):
    """An autoencoder, loaded."""

    backend: str
    vae: str
    digest: str | None
    weights: str | None  # digest of the weights by their values
    precision: str
    device: str
    stride: int
    mean_C: npt.NDArray[np.float32]
    std_C: npt.NDArray[np.float32]

    def encoder(self, width: int, height: int, frames: int) -> ClipEncoder:
        """An encoder for a segment of `frames` pictures of this size."""


def load_coder(config: EncoderConfig) -> Coder:
    """The autoencoder of a config; loads its weights."""
    if config.backend == "vae":
        from stages.latents.vae_coder import VaeCoder

        return VaeCoder(config)
    return DctCoder(CODECS[config.backend])


class DctCoder:
    """The codec without weights."""

    backend: str = "dct"
    digest: str | None = None
    weights: str | None = None
    precision: str = "float32"
    device: str = "cpu"

    def __init__(self, name: str) -> None:
        self._codec = dct_codec(name)
        self.vae = name
        self.stride = self._codec.stride
        self.mean_C = self._codec.mean_C
        self.std_C = self._codec.std_C

    def encoder(self, width: int, height: int, frames: int) -> ClipEncoder:
        return _DctClip(self._codec.encoder())


class _DctClip:
    tile: int | None = None

    def __init__(self, encoder: DctEncoder) -> None:
        self._encoder = encoder
        self._nothing_TCHW = np.empty((0, 0, 0, 0), np.float32)

    def add(self, frames_THWC: Frames) -> npt.NDArray[np.float32]:
        latents_TCHW = self._encoder.add(frames_THWC)
        self._nothing_TCHW = latents_TCHW[:0]
        return latents_TCHW

    def finish(self) -> npt.NDArray[np.float32]:
        self._encoder.finish()
        return self._nothing_TCHW

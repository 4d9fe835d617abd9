"""A Wan VAE as a coder: pixels to tensors, and tiles where a GPU's memory ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from stages.latents.coder import ClipEncoder, Frames
from stages.latents.config import EncoderConfig
from wanprep.models.device import with_less
from wanprep.models.errors import ModelOutOfMemory
from wanprep.models.resolve import digest
from wanprep.models.vae import STRIDE_TIME, find_vae, load_vae

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

_SMALLER_TILES = (768, 512, 384, 256)  # pixels; tried in this order where a GPU's memory ends
_TRIED_FRAMES = 2 * STRIDE_TIME + 1  # from then on, a step needs no more memory

_log = logging.getLogger("wanprep.stages.latents")


class VaeCoder:
    """A loaded VAE. A picture that does not fit on the GPU is coded in tiles, and the record says so."""

    backend: str = "vae"

    def __init__(self, config: EncoderConfig) -> None:
        self._config = config
        self._vae = load_vae(config.model, config.device, config.precision)
        self.vae = _name(config.model)
        self.digest: str | None = digest(str(find_vae(config.model)))
        self.weights: str | None = self._vae.fingerprint
        self.precision: str = config.precision
        self.device: str = self._vae.device.type
        self.stride = self._vae.stride
        self.mean_C = self._vae.mean_C
        self.std_C = self._vae.std_C
        self._fitting: dict[tuple[int, int, bool], int | None] = {}

    def encoder(self, width: int, height: int, frames: int) -> ClipEncoder:
        tile = self._config.tile
        if self.device == "cuda":
            tile = self._tile_that_fits(width, height, frames)
        return _VaeClip(self, tile, width, height)

    def open(self, tile: int | None, width: int, height: int) -> Callable[[Frames], torch.Tensor]:
        """The VAE's own encoder, taking pictures; `finish` is asked for by an empty batch."""
        encoder = self._vae.encoder(tile if tile is not None and tile < max(width, height) else None)

        def add(frames_THWC: Frames) -> torch.Tensor:
            return encoder.add(self._pixels_CTHW(frames_THWC)) if len(frames_THWC) else encoder.finish()

        return add

    def _pixels_CTHW(self, frames_THWC: Frames) -> torch.Tensor:
        import torch

        pixels = torch.tensor(frames_THWC, device=self._vae.device).permute(3, 0, 1, 2).float()
        if frames_THWC.dtype == np.uint8:
            pixels = pixels.div_(127.5).sub_(1)
        return pixels.bfloat16() if self._config.pixel_rounding == "bfloat16" else pixels

    def _tile_that_fits(self, width: int, height: int, frames: int) -> int | None:
        """The largest tile, found by coding grey pictures once a size."""
        key = (width, height, frames == 1)
        if key not in self._fitting:
            largest = min(self._config.tile or max(width, height), max(width, height))
            sizes = [largest, *(size for size in _SMALLER_TILES if size < largest)]
            grey_THWC = np.full((min(frames, _TRIED_FRAMES), height, width, 3), 127, np.uint8)

            def attempt(size: int) -> int:
                self.open(size, width, height)(grey_THWC)
                return size

            found = _told(width, height, lambda: with_less(sizes, attempt))
            if found != largest:
                _log.warning("pictures of %dx%d do not fit on the GPU: tiles of %d", width, height, found)
            self._fitting[key] = found if found < max(width, height) else None
        return self._fitting[key]


class _VaeClip:
    def __init__(self, coder: VaeCoder, tile: int | None, width: int, height: int) -> None:
        self.tile = tile if tile is not None and tile < max(width, height) else None
        self._size = (width, height)
        self._add = coder.open(self.tile, width, height)

    def add(self, frames_THWC: Frames) -> npt.NDArray[np.float32]:
        # A few at a time: the pictures of a window are four times as large in float32.
        parts = [
            self._latents(frames_THWC[start : start + STRIDE_TIME])
            for start in range(0, len(frames_THWC), STRIDE_TIME)
        ]
        return np.concatenate(parts)

    def finish(self) -> npt.NDArray[np.float32]:
        return self._latents(np.empty((0, 0, 0, 3), np.uint8))

    def _latents(self, frames_THWC: Frames) -> npt.NDArray[np.float32]:
        width, height = self._size
        side = self.tile or max(width, height)
        latents_CTHW = _told(width, height, lambda: with_less([side], lambda _: self._add(frames_THWC)))
        latents_TCHW: npt.NDArray[np.float32] = latents_CTHW.movedim(1, 0).float().cpu().numpy()
        return latents_TCHW


def _name(model: str) -> str:
    """Of a path its last folder or file: where it lies on this machine says nothing elsewhere."""
    path = Path(model)
    if not path.exists():
        return model
    path = path.resolve()
    return path.parent.name if path.name == "vae" else path.name


def _told(width: int, height: int, attempt: Callable[[], T]) -> T:
    try:
        return attempt()
    except ModelOutOfMemory as error:
        raise ModelOutOfMemory(f"pictures of {width}x{height} do not fit this VAE's GPU: {error}") from error

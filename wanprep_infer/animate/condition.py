"""The 20 channels beside the noise: what the model is shown of each latent frame, and which of it is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from wanprep.models.vae import Vae
from wanprep_infer.conditioning.animate import AnimateConditioning

if TYPE_CHECKING:
    from torch import Tensor

Grounds = Mapping[int, npt.NDArray[np.uint8]]

_MASK_CHANNELS = 4
_AT_ONCE = 4  # frames given to the VAE at a time: a latent frame


class Conditioner:
    """Makes the condition y of a clip's segments: the reference's slot, then mask channels and condition latents.

    y is [20, l+1, h, w] on the CPU: bfloat16 where the official code's rounding is asked for, float32 otherwise.
    """

    def __init__(self, vae: Vae, *, tile: int | None = None, rounds: bool = True) -> None:
        self._vae = vae
        self._tile = tile
        self._rounds = rounds
        # Latents of grey frames depend on length and size alone, and a job's clips mostly have one size.
        self._grey: tuple[tuple[int, int, int], Tensor] | None = None

    def first(self, conditioning: AnimateConditioning) -> Tensor:
        """y of a clip's first segment. Nothing is encoded but grey frames, once a size."""
        if conditioning.mode == "replace":
            latents_CTHW = torch.from_numpy(conditioning.background_latents_CTHW())
        else:
            latents_CTHW = self._grey_latents(conditioning)
        return self._with_reference(conditioning, 0, latents_CTHW)

    def later(
        self, conditioning: AnimateConditioning, segment: int, carried_CTHW: Tensor, grounds: Grounds | None
    ) -> Tensor:
        """y of a segment after the first. Its frames go to the VAE a few at a time, with tiles all together.

        Args:
            carried_CTHW: the last frames of the segment before, float32 [3,R,H,W] in -1 to 1.
            grounds: replacement's backgrounds by the clip's frame; None: the rest is grey.
        """
        shown_T = conditioning.shown_T(segment)[carried_CTHW.shape[1] :]
        if grounds is None:
            rest = self._grey_frames(len(shown_T), conditioning.height, conditioning.width)
        else:
            rest = self._ground_frames(shown_T, grounds)
        latents_CTHW = self._encoded(self._chained(carried_CTHW, rest))
        return self._with_reference(conditioning, segment, latents_CTHW)

    def _with_reference(
        self, conditioning: AnimateConditioning, segment: int, latents_CTHW: Tensor
    ) -> Tensor:
        reference_CTHW = torch.from_numpy(conditioning.reference_latents_CTHW())
        known_CTHW = torch.from_numpy(conditioning.mask_channels_CTHW(segment))
        whole_CTHW = torch.cat(
            [
                torch.cat([torch.ones_like(reference_CTHW[:_MASK_CHANNELS]), reference_CTHW]),
                torch.cat([known_CTHW, latents_CTHW]),
            ],
            dim=1,
        )
        return whole_CTHW.bfloat16() if self._rounds else whole_CTHW

    def _grey_latents(self, conditioning: AnimateConditioning) -> Tensor:
        size = (conditioning.segment_frames, conditioning.height, conditioning.width)
        if self._grey is None or self._grey[0] != size:
            self._grey = (size, self._encoded(self._grey_frames(*size)))
        return self._grey[1]

    def _grey_frames(self, frames: int, height: int, width: int) -> Iterator[Tensor]:
        for start in range(0, frames, _AT_ONCE):
            yield torch.zeros(3, min(_AT_ONCE, frames - start), height, width)

    def _ground_frames(self, shown_T: npt.NDArray[np.int64], grounds: Grounds) -> Iterator[Tensor]:
        for start in range(0, len(shown_T), _AT_ONCE):
            part_THWC = np.stack([grounds[int(frame)] for frame in shown_T[start : start + _AT_ONCE]])
            yield torch.from_numpy(part_THWC).permute(3, 0, 1, 2).float().div_(127.5).sub_(1)

    def _chained(self, first_CTHW: Tensor, rest: Iterable[Tensor]) -> Iterator[Tensor]:
        yield first_CTHW
        yield from rest

    def _encoded(self, parts: Iterable[Tensor]) -> Tensor:
        """Whitened latents of frames that come in parts, float32 [16, l, h, w] on the CPU."""
        encoder = self._vae.encoder(self._tile)
        together = self._tile is not None  # a tile's cache changes places once a call
        if together:
            parts = [torch.cat(list(parts), dim=1)]
        latents = [encoder.add(part.bfloat16() if self._rounds else part, last=together) for part in parts]
        latents_CTHW = torch.cat([*latents, encoder.finish()], dim=1)
        return self._vae.whiten(latents_CTHW.float()).cpu()

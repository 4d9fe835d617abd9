"""From a clip's latents to its frames.

The decoder is causal and reaches back 38 latent frames, so that all the history a clip has (19) must pass through it
before the clip. But not through all of it: its last blocks, at full frame rate, look back a few frames only. They are
three quarters of the work, and run for the last 7 and 4 latent frames of the history alone. The clip's frames are the
same to the bit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from wanprep.models.vae import Vae

_STRIDE = 4  # frames a latent frame
_BACK = 2  # frames that a convolution over 3 frames looks back
_CONVOLUTIONS = 2  # of a residual block


class _Enough(Exception):
    """The blocks that are still to come are not needed."""


def decode_clip(
    vae: Vae,
    before_CTHW: Tensor,
    latents_CTHW: Tensor,
    tile: int | None = None,
    *,
    shortened: bool = True,
) -> Tensor:
    """A clip's frames, of two runs of whitened latents that are decoded as one: float32 [3, 4F, height, width] in -1
    to 1, on the CPU, of F latent frames.

    Args:
        before_CTHW: one latent frame at least, that the decoder sees before the clip: history, or the reference.
        tile: pixels; the VAE decodes larger pictures in squares of this side.
        shortened: leave out what of the frames before cannot be seen in the clip's. Off: for a VAE whose modules are
            moved between devices while they run.
    """
    import torch

    before_CTHW, latents_CTHW = vae.unwhiten(before_CTHW.float()), vae.unwhiten(latents_CTHW.float())
    rows, columns = (side * vae.stride for side in latents_CTHW.shape[-2:])
    out_CTHW = torch.empty((3, _STRIDE * latents_CTHW.shape[1], rows, columns))
    decoder = vae.decoder(tile)
    shortened = shortened and tile is None and vae.streams
    # A tile's cache changes places once a call: with tiles, there is one before the clip and one for it.
    at_once = 1 if tile is None else max(before_CTHW.shape[1], latents_CTHW.shape[1])
    for index in range(0, before_CTHW.shape[1], at_once):
        latent_CTHW = before_CTHW[:, index : index + at_once]
        blocks = _enough_blocks(vae.model, before_CTHW.shape[1] - index) if shortened else None
        if blocks is None:
            decoder.add(latent_CTHW)
        else:
            _add_through(vae.model.decoder.up_blocks[blocks], lambda kept=latent_CTHW: decoder.add(kept))
    for index in range(0, latents_CTHW.shape[1], at_once):
        last = index + at_once >= latents_CTHW.shape[1]
        frames_CTHW = decoder.add(latents_CTHW[:, index : index + at_once], last=last)
        start = index * _STRIDE
        out_CTHW[:, start : start + frames_CTHW.shape[1]] = frames_CTHW.float().clamp(-1, 1).cpu()
    rest_CTHW = decoder.finish()
    if rest_CTHW.shape[1]:  # a VAE that does not decode in pieces gives all frames here
        out_CTHW = rest_CTHW[:, -out_CTHW.shape[1] :].float().clamp(-1, 1).cpu()
    return out_CTHW


def _enough_blocks(model: Any, left: int) -> int | None:
    """How many of the decoder's up-blocks a latent frame must pass that comes `left` latent frames before the clip's
    first; None: all.

    A block may be left out once no frame of the clip can see what it would give.
    """
    if model.config.is_residual:
        return None
    doubles = [*reversed(model.config.temperal_downsample), False]
    full_rate = 1 + max((index for index, double in enumerate(doubles) if double), default=0)
    blocks = model.decoder.up_blocks
    seen = _BACK  # frames before the clip that the last convolution sees
    enough = None
    for index in range(len(blocks) - 1, full_rate - 1, -1):
        seen += _BACK * _CONVOLUTIONS * len(blocks[index].resnets)
        if left > math.ceil(seen / _STRIDE):
            enough = index
    return enough


def _add_through(block: Any, add: Any) -> None:
    """Calls `add` and ends it where it comes to this block. The blocks before have remembered what they saw."""

    def stop(*_: object) -> None:
        raise _Enough

    hook = block.register_forward_pre_hook(stop)
    try:
        add()
    except _Enough:
        pass
    finally:
        hook.remove()

"""From noise to a segment's latents, and from latents to frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from wanprep.models.vae import STRIDE_TIME, Vae
from wanprep_infer.animate.settings import AnimateSettings
from wanprep_infer.animate.transformer import Transformer
from wanprep_infer.solvers import make_solver

if TYPE_CHECKING:
    from torch import Tensor


def noise_CTHW(generator: torch.Generator, like_y_CTHW: Tensor, channels: int) -> Tensor:
    """The next segment's noise, float32 [channels, l+1, h, w] on the CPU. Generators on GPUs draw other numbers: with
    the CPU's a seed means the same on every machine (diffusers does so with a CPU generator)."""
    shape = (channels, *like_y_CTHW.shape[1:])
    return torch.randn(shape, generator=generator, dtype=torch.float32)


def denoise(
    transformer: Transformer,
    latents_CTHW: Tensor,
    y_CTHW: Tensor,
    settings: AnimateSettings,
    tokens: Any,
    tokens_without: Any | None,
    stepped: Callable[[], None],
) -> Tensor:
    """A segment's clean latents, float32 [16, l+1, h, w], the reference's slot first.

    Args:
        latents_CTHW: noise, float32.
        y_CTHW: the segment's condition.
        tokens: what the transformer prepared with prompt and face.
        tokens_without: the same with the negative prompt and no face; None: no guidance.
        stepped: called after every step.
    """
    solver = make_solver(settings.solver, settings.steps, settings.shift, settings.compat)
    for timestep in solver.schedule.timesteps_S.tolist():
        velocity_CTHW = transformer.velocity(latents_CTHW, y_CTHW, timestep, tokens).float()
        if tokens_without is not None:
            without_CTHW = transformer.velocity(latents_CTHW, y_CTHW, timestep, tokens_without).float()
            velocity_CTHW = without_CTHW + settings.guidance * (velocity_CTHW - without_CTHW)
        latents_CTHW = solver.step(velocity_CTHW, latents_CTHW)
        stepped()
    return latents_CTHW


def decode(vae: Vae, latents_CTHW: Tensor, skip: int = 0, tile: int | None = None) -> Tensor:
    """Frames of whitened latents [16, l, h, w]: float32 [3, 4(l-1)+1-skip, H, W] on the CPU, clamped to -1 to 1.

    One latent frame is decoded at a time, and its frames leave the device at once. With tiles, all frames of one tile
    are decoded before the next tile's.

    Args:
        skip: frames at the beginning that are decoded and left out.
        tile: pixels a side of the squares that the VAE works in; None: whole pictures.
    """
    latent_frames = latents_CTHW.shape[1]
    frames = STRIDE_TIME * (latent_frames - 1) + 1
    height, width = (vae.stride * side for side in latents_CTHW.shape[2:])
    frames_CTHW = torch.empty(3, frames - skip, height, width)
    decoder = vae.decoder(tile)
    done = 0
    # A tile's cache changes places once a call: with tiles, there is one.
    at_once = 1 if tile is None else latent_frames
    for place in range(0, latent_frames + at_once, at_once):
        # Where this diffusers does not decode in pieces, all frames come at the end.
        if place < latent_frames:
            raw_CTHW = vae.unwhiten(latents_CTHW[:, place : place + at_once].to(vae.device, torch.float32))
            part_CTHW = decoder.add(raw_CTHW, last=place + at_once >= latent_frames)
        else:
            part_CTHW = decoder.finish()
        start = max(0, skip - done)
        if part_CTHW.shape[1] > start:
            begin = done + start - skip
            kept_CTHW = part_CTHW[:, start:]
            frames_CTHW[:, begin : begin + kept_CTHW.shape[1]] = kept_CTHW.float().clamp(-1, 1)
        done += part_CTHW.shape[1]
    return frames_CTHW

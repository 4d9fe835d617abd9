"""Weights that wait in the machine's memory and come a block or a layer at a time, through diffusers."""

from __future__ import annotations

import math
from typing import Any

import torch

_HOOK = "group_offloading"  # diffusers' name of it
_CONTEXT = 512  # text tokens, which diffusers' Animate blocks count on


def offload(transformer: Any, device: torch.device, *, by_layer: bool) -> None:
    """Has a transformer's weights wait on the CPU and come when they are used.

    Args:
        by_layer: a layer at a time; otherwise a block, and on a GPU the next block comes while one computes.
    """
    from diffusers.hooks import apply_group_offloading

    ahead = device.type == "cuda" and not by_layer
    apply_group_offloading(
        transformer,
        onload_device=device,
        offload_device=torch.device("cpu"),
        offload_type="leaf_level" if by_layer else "block_level",
        num_blocks_per_group=None if by_layer else 1,
        use_stream=ahead,
        record_stream=ahead,
    )
    for module in transformer.modules():
        _keep_buffers(module)
    if ahead:
        show_order(transformer, device)


def _keep_buffers(module: Any) -> None:
    """Leaves a module that has buffers and no weights (rotary tables) where it computes: its call may be about shapes
    only, with an empty tensor that cannot be moved."""
    registry = getattr(module, "_diffusers_hook", None)
    if registry is None:
        return
    hook = registry.get_hook(_HOOK)
    if hook is not None and not hook.group.modules and not hook.group.parameters:
        hook.group.onload_()
        registry.remove_hook(_HOOK, recurse=False)


@torch.no_grad()
def show_order(transformer: Any, device: torch.device) -> None:
    """Lets diffusers see in which order an Animate model's blocks run: it fetches ahead what came next in the very
    first call, and a segment begins with calls that run no block. One pass over a single token a latent frame; other
    models, whose first call is a whole pass, are left alone."""
    from diffusers import WanAnimateTransformer3DModel

    if not isinstance(transformer, WanAnimateTransformer3DModel):
        return
    settings, dtype = transformer.config, transformer.dtype
    side = math.lcm(*settings.patch_size[1:])

    def zeros(*shape: int) -> torch.Tensor:
        return torch.zeros(shape, device=device, dtype=dtype)

    image = zeros(1, 1, settings.image_dim) if settings.image_dim else None
    transformer(
        hidden_states=zeros(1, settings.in_channels, 2, side, side),
        timestep=torch.zeros(1, dtype=torch.long, device=device),
        encoder_hidden_states=zeros(1, _CONTEXT, settings.text_dim),
        encoder_hidden_states_image=image,
        pose_hidden_states=zeros(1, settings.latent_channels, 1, side, side),
        face_pixel_values=zeros(1, 3, 1, settings.motion_encoder_size, settings.motion_encoder_size),
        return_dict=False,
    )

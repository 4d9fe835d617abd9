"""Puts a generator's transformer and VAE where they compute, as the memory options say."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from wanprep_infer.memory.config import MemoryConfig

if TYPE_CHECKING:
    import torch

    from wanprep.models.vae import Vae

_log = logging.getLogger("wanprep.models")


def place(transformer: Any, vae: Vae, config: MemoryConfig, device: torch.device | str) -> None:
    """Moves both in place, and has what waits elsewhere come when it is needed; `vae.device` says then where the VAE
    computes. To be called once, after LoRAs are attached.

    Load both on the CPU where weights are to be offloaded or kept in 8 bits, so that the GPU never holds all of them.

    Args:
        transformer: diffusers' WanAnimateTransformer3DModel, or WanS2VTransformer3DModel.
        config: `tile` is not looked at here: it goes to the VAE's coders.
        device: where both compute. On a CPU, offloading is without effect.

    Raises:
        UsageError: `parallel` without torchrun, or with a number of GPUs that does not divide the heads; one sentence.
    """
    import torch

    device = torch.device(device)
    if config.parallel != "none":
        from wanprep_infer.memory.parallel import begin_parallel

        device = begin_parallel(transformer, device)
    if config.offload != "none" and device.type == "cpu":
        _log.warning(
            "offload=%s is without effect on a CPU: there is no other memory to wait in", config.offload
        )
    if config.weights == "fp8":
        transformer.enable_layerwise_casting(
            storage_dtype=torch.float8_e4m3fn,
            compute_dtype=transformer.dtype,
            non_blocking=device.type == "cuda",
        )
    # All who hold this VAE are to see where it is now.
    object.__setattr__(vae, "device", device)
    if config.offload == "model":
        from wanprep_infer.memory.turns import Turns

        turns = Turns(device)
        turns.add(transformer, [transformer])
        coder = vae.model
        turns.add(coder, [coder.encoder, coder.decoder, coder.quant_conv, coder.post_quant_conv])
        return
    # torch's own `to`: diffusers' warns of float32 layers, though no type changes here.
    torch.nn.Module.to(vae.model, device)
    if config.offload == "none":
        torch.nn.Module.to(transformer, device)
    else:
        from wanprep_infer.memory.groups import offload

        offload(transformer, device, by_layer=config.offload == "sequential")

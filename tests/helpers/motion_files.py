"""Tiny checkpoints with a motion encoder, in each layout that one is read from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.transformers.transformer_wan_animate import WanAnimateMotionEncoder
from safetensors.torch import save_file

STEM = "diffusion_pytorch_model"
SIZE, CHANNELS = 16, 24
PARTS = {"conv1": ("conv1", 0), "conv2": ("conv2", 1), "conv_skip": ("skip", 1)}

Tensors = Mapping[str, Any]


def encoder(seed: int) -> Any:
    """A motion encoder of 16 pixel faces and 24 numbers, all its tensors random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = WanAnimateMotionEncoder(
            size=SIZE, style_dim=12, motion_dim=4, out_dim=CHANNELS, channels={"4": 10, "8": 8, "16": 6}
        )
        for tensor in made.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape))
    return made.eval().requires_grad_(False)


def diffusers_tensors(made: Any) -> dict[str, Any]:
    return {f"motion_encoder.{name}": tensor for name, tensor in made.state_dict().items()}


def official_tensors(made: Any) -> dict[str, Any]:
    """The same tensors as the official checkpoint has them, blur kernels included."""
    last = len(made.res_blocks) + 1
    found: dict[str, Any] = {"motion_encoder.dec.direction.weight": made.motion_synthesis_weight}
    for number, linear in enumerate(made.motion_network):
        found[f"motion_encoder.enc.fc.{number}.weight"] = linear.weight
        found[f"motion_encoder.enc.fc.{number}.bias"] = linear.bias
    net = "motion_encoder.enc.net_app.convs"
    found[f"{net}.0.0.weight"] = made.conv_in.weight
    found[f"{net}.0.1.bias"] = made.conv_in.act_fn.bias[None, :, None, None]
    found[f"{net}.{last}.weight"] = made.conv_out.weight
    for number, block in enumerate(made.res_blocks, start=1):
        for name, (part, place) in PARTS.items():
            layer = getattr(block, name)
            found[f"{net}.{number}.{part}.{place}.weight"] = layer.weight
            if layer.act_fn is not None:
                found[f"{net}.{number}.{part}.{place + 1}.bias"] = layer.act_fn.bias[None, :, None, None]
            if place:
                found[f"{net}.{number}.{part}.0.kernel"] = layer.blur_kernel
    return found


def write(folder: Path, tensors: Tensors, shards: int = 1) -> Path:
    """A transformer's folder with these tensors and one of another kind; `shards` of them under an index. The first
    shard holds only the other one."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    other = {"blocks.0.ffn.0.weight": torch.ones(3, 3)}
    kept = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
    if shards == 1:
        save_file({**other, **kept}, folder / f"{STEM}.safetensors")
        return folder
    names, placed = list(kept), {}
    for number in range(shards):
        file = f"{STEM}-{number + 1:05d}-of-{shards:05d}.safetensors"
        chosen = {name: kept[name] for name in names[number - 1 :: shards - 1]} if number else other
        save_file(chosen, folder / file)
        placed |= dict.fromkeys(chosen, file)
    (folder / f"{STEM}.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    return folder

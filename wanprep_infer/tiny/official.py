"""Wan's own single files, .pth, of components that are at hand in diffusers' and transformers' form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_VAE_ENDS = {
    "quant_conv": "conv1",
    "post_quant_conv": "conv2",
    "encoder.conv_in": "encoder.conv1",
    "decoder.conv_in": "decoder.conv1",
    "encoder.norm_out": "encoder.head.0",
    "decoder.norm_out": "decoder.head.0",
    "encoder.conv_out": "encoder.head.2",
    "decoder.conv_out": "decoder.head.2",
}
_VAE_MIDDLE = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}
_VAE_BLOCK = {
    "norm1": "residual.0",
    "conv1": "residual.2",
    "norm2": "residual.3",
    "conv2": "residual.6",
    "conv_shortcut": "shortcut",
}
_TEXT = {
    "shared.weight": "token_embedding.weight",
    "encoder.final_layer_norm.weight": "norm.weight",
}
_TEXT_BLOCK = {
    "layer.0.layer_norm": "norm1",
    "layer.0.SelfAttention.q": "attn.q",
    "layer.0.SelfAttention.k": "attn.k",
    "layer.0.SelfAttention.v": "attn.v",
    "layer.0.SelfAttention.o": "attn.o",
    "layer.0.SelfAttention.relative_attention_bias": "pos_embedding.embedding",
    "layer.1.layer_norm": "norm2",
    "layer.1.DenseReluDense.wi_0": "ffn.gate.0",
    "layer.1.DenseReluDense.wi_1": "ffn.fc1",
    "layer.1.DenseReluDense.wo": "ffn.fc2",
}


def write_vae_pth(file: Path, vae: Any) -> None:
    """Wan2.1_VAE.pth of a Wan2.1 VAE: its decoder's blocks are numbered through, float32."""
    up_resnets = vae.config.num_res_blocks + 1  # the decoder has one more in each group than the encoder
    _save({vae_name(name, up_resnets): value for name, value in vae.state_dict().items()}, file)


def vae_name(name: str, up_resnets: int) -> str:
    """Wan2.1's name of a tensor of diffusers' AutoencoderKLWan, whose decoder has `up_resnets` residual blocks in a
    group, followed by an upsampler."""
    stem, _, kind = name.rpartition(".")
    if stem in _VAE_ENDS:
        return f"{_VAE_ENDS[stem]}.{kind}"
    if match := re.fullmatch(
        r"(encoder|decoder)\.mid_block\.(resnets\.0|attentions\.0|resnets\.1)\.(.+)", name
    ):
        return f"{match[1]}.middle.{_VAE_MIDDLE[match[2]]}.{_vae_rest(match[3])}"
    if match := re.fullmatch(r"encoder\.down_blocks\.(\d+)\.(.+)", name):
        return f"encoder.downsamples.{match[1]}.{_vae_rest(match[2])}"
    if match := re.fullmatch(r"decoder\.up_blocks\.(\d+)\.(resnets|upsamplers)\.(\d+)\.(.+)", name):
        inside = int(match[3]) + (up_resnets if match[2] == "upsamplers" else 0)
        return f"decoder.upsamples.{int(match[1]) * (up_resnets + 1) + inside}.{_vae_rest(match[4])}"
    raise ValueError(f"{name} is no tensor of a Wan2.1 VAE")


def _vae_rest(rest: str) -> str:
    part, _, kind = rest.partition(".")
    return f"{_VAE_BLOCK.get(part, part)}.{kind}"


def write_text_encoder_pth(file: Path, encoder: Any) -> None:
    """models_t5_umt5-xxl-enc-bf16.pth of a umT5 encoder, bfloat16."""
    import torch

    found: dict[str, torch.Tensor] = {}
    for name, value in encoder.state_dict().items():
        if name == "encoder.embed_tokens.weight":  # the shared table again
            continue
        found[text_name(name)] = value.to(torch.bfloat16)
    _save(found, file)


def text_name(name: str) -> str:
    """Wan's name of a tensor of transformers' UMT5EncoderModel."""
    if name in _TEXT:
        return _TEXT[name]
    match = re.fullmatch(r"encoder\.block\.(\d+)\.(.+)\.weight", name)
    if match is None or match[2] not in _TEXT_BLOCK:
        raise ValueError(f"{name} is no tensor of a umT5 encoder")
    return f"blocks.{match[1]}.{_TEXT_BLOCK[match[2]]}.weight"


def _save(tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    import torch

    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({name: value.detach().clone().contiguous() for name, value in tensors.items()}, file)

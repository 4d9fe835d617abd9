"""Names, shapes and seeded values of a Wan2.2-S2V transformer's tensors, as in the official checkpoint."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wanprep.models.tiny_components import AUDIO_WIDTH, TEXT_WIDTH

if TYPE_CHECKING:
    import torch

Shape = tuple[int, ...]

_STATES = 25  # hidden states of the sound encoder, each with a weight
_LATENTS = 16  # channels
_NORMS = ("norm_q.weight", "norm_k.weight", "norm3.weight")  # the only norms with tensors


@dataclass(frozen=True, slots=True)
class S2VGeometry:
    """What of the configuration decides shapes. The defaults are tiny; at 14B the width is 5120 and there are 40
    blocks and heads."""

    dim: int = 48
    ffn_dim: int = 96
    freq_dim: int = 32
    text_dim: int = TEXT_WIDTH
    audio_dim: int = AUDIO_WIDTH
    num_heads: int = 3
    num_layers: int = 4
    audio_inject_layers: tuple[int, ...] = (0, 2, 3)
    num_audio_token: int = 4

    def config(self) -> dict[str, Any]:
        """config.json as published, with `text_dim`, which the published one leaves at 4096."""
        return {
            "_class_name": "WanModel_S2V",
            "_diffusers_version": "0.34.0",
            "adain_mode": "attn_norm",
            "add_last_motion": True,
            "audio_dim": self.audio_dim,
            "audio_inject_layers": list(self.audio_inject_layers),
            "cond_dim": _LATENTS,
            "dim": self.dim,
            "enable_adain": True,
            "enable_framepack": True,
            "enable_motioner": False,
            "enable_tsm": False,
            "eps": 1e-06,
            "ffn_dim": self.ffn_dim,
            "framepack_drop_mode": "padd",
            "freq_dim": self.freq_dim,
            "in_dim": _LATENTS,
            "model_type": "s2v",
            "motion_token_num": 1024,
            "num_audio_token": self.num_audio_token,
            "num_heads": self.num_heads,
            "num_layers": self.num_layers,
            "out_dim": _LATENTS,
            "text_dim": self.text_dim,
            "text_len": 512,
            "trainable_token_pos_emb": False,
            "zero_init": True,
            "zero_timestep": True,
        }


def shapes(geometry: S2VGeometry) -> dict[str, Shape]:
    """Every tensor of the checkpoint, in its order."""
    dim, ffn = geometry.dim, geometry.ffn_dim
    found: dict[str, Shape] = {}

    def layer(name: str, *shape: int) -> None:
        found[f"{name}.weight"] = shape
        found[f"{name}.bias"] = shape[:1]

    def attention(name: str) -> None:
        for part in "qkvo":
            layer(f"{name}.{part}", dim, dim)
        for norm in ("norm_q", "norm_k"):
            found[f"{name}.{norm}.weight"] = (dim,)

    layer("patch_embedding", dim, _LATENTS, 1, 2, 2)
    layer("text_embedding.0", dim, geometry.text_dim)
    layer("text_embedding.2", dim, dim)
    layer("time_embedding.0", dim, geometry.freq_dim)
    layer("time_embedding.2", dim, dim)
    layer("time_projection.1", 6 * dim, dim)
    for block in range(geometry.num_layers):
        found[f"blocks.{block}.modulation"] = (1, 6, dim)
        attention(f"blocks.{block}.self_attn")
        layer(f"blocks.{block}.norm3", dim)
        attention(f"blocks.{block}.cross_attn")
        layer(f"blocks.{block}.ffn.0", ffn, dim)
        layer(f"blocks.{block}.ffn.2", dim, ffn)
    found["head.modulation"] = (1, 2, dim)
    layer("head.head", 4 * _LATENTS, dim)
    layer("cond_encoder", dim, _LATENTS, 1, 2, 2)
    audio = "casual_audio_encoder"  # as the checkpoint spells it
    found[f"{audio}.weights"] = (1, _STATES, 1, 1)
    found[f"{audio}.encoder.padding_tokens"] = (1, 1, 1, dim)
    group = dim // geometry.num_audio_token
    layer(f"{audio}.encoder.conv1_local.conv", group * geometry.num_audio_token, geometry.audio_dim, 3)
    layer(f"{audio}.encoder.conv1_global.conv", dim // 4, geometry.audio_dim, 3)
    layer(f"{audio}.encoder.conv2.conv", dim // 2, dim // 4, 3)
    layer(f"{audio}.encoder.conv3.conv", dim, dim // 2, 3)
    layer(f"{audio}.encoder.final_linear", dim, dim)
    for number in range(len(geometry.audio_inject_layers)):
        attention(f"audio_injector.injector.{number}")
    for number in range(len(geometry.audio_inject_layers)):
        layer(f"audio_injector.injector_adain_layers.{number}.linear", 2 * dim, dim)
    found["trainable_cond_mask.weight"] = (3, dim)
    layer("frame_packer.proj", dim, _LATENTS, 1, 2, 2)
    layer("frame_packer.proj_2x", dim, _LATENTS, 2, 4, 4)
    layer("frame_packer.proj_4x", dim, _LATENTS, 4, 8, 8)
    return found


def weights(geometry: S2VGeometry, seed: int) -> dict[str, torch.Tensor]:
    """Seeded tensors in bfloat16, as published: norms near one, the rest small enough for values to keep their size
    through the blocks. Nothing is left at zero, so that each part shows in the output."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    found: dict[str, torch.Tensor] = {}
    for name, shape in shapes(geometry).items():
        values = torch.randn(shape, generator=generator)
        if name.endswith(_NORMS):
            values = 1 + 0.1 * values
        elif name.endswith(".weight") and len(shape) > 1:
            values = values / math.sqrt(math.prod(shape[1:]))
        else:
            values = 0.1 * values
        found[name] = values.to(torch.bfloat16)
    return found

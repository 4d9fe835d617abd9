"""Tensor names of the image tower: Wan's own and open_clip's, turned into those of transformers' CLIPVisionModel."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from wanprep.models.errors import ModelBroken

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from transformers import CLIPVisionConfig

_HEAD_WIDTH = 80  # of ViT-H/14: 1280 in 16 heads
_TOWER = "visual."
# Unused here: the projections to the space that texts share.
_LEFT_OUT = ("head", "proj")
_OUTER = {
    "patch_embedding.weight": "embeddings.patch_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "cls_embedding": "embeddings.class_embedding",
    "class_embedding": "embeddings.class_embedding",
    "pos_embedding": "embeddings.position_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    **{
        f"{ours}.{part}": f"pre_layrnorm.{part}"
        for ours in ("pre_norm", "ln_pre")
        for part in ("weight", "bias")
    },
    **{
        f"{ours}.{part}": f"post_layernorm.{part}"
        for ours in ("post_norm", "ln_post")
        for part in ("weight", "bias")
    },
}
_BLOCK = re.compile(r"transformer\.(?:resblocks\.)?(\d+)\.(.+?)[._](weight|bias)")
_INNER = {
    "norm1": "layer_norm1",
    "ln_1": "layer_norm1",
    "norm2": "layer_norm2",
    "ln_2": "layer_norm2",
    "attn.proj": "self_attn.out_proj",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.0": "mlp.fc1",
    "mlp.c_fc": "mlp.fc1",
    "mlp.2": "mlp.fc2",
    "mlp.c_proj": "mlp.fc2",
}
_FUSED = ("attn.to_qkv", "attn.in_proj")
_LAYER = re.compile(r"encoder\.layers\.(\d+)\.")


def vision_weights(weights: Mapping[str, torch.Tensor], where: str) -> dict[str, torch.Tensor]:
    """The image tower's tensors under the names of CLIPVisionModel.

    Takes a state dict with a `visual.` tower beside others, or of the tower alone. Query, key and value, which both
    name sets keep in one tensor, are cut apart.

    Raises:
        ModelBroken: a tensor of the tower has a name that neither set knows, or nothing of a tower is there.
    """
    tower = {name.removeprefix(_TOWER): value for name, value in weights.items() if name.startswith(_TOWER)}
    found: dict[str, torch.Tensor] = {}
    for name, value in (tower or dict(weights)).items():
        if name in _LEFT_OUT:
            continue
        if name in _OUTER:
            found[_OUTER[name]] = _without_batch(_OUTER[name], value)
            continue
        block = _BLOCK.fullmatch(name)
        if block and block[2] in _INNER:
            found[f"encoder.layers.{block[1]}.{_INNER[block[2]]}.{block[3]}"] = value
        elif block and block[2] in _FUSED:
            if not value.ndim or value.shape[0] % 3:
                raise ModelBroken(
                    f"{where}: the tensor {name} is {tuple(value.shape)}, which is not three alike"
                )
            for part, third in zip("qkv", value.chunk(3), strict=True):
                found[f"encoder.layers.{block[1]}.self_attn.{part}_proj.{block[3]}"] = third
        else:
            raise ModelBroken(f"{where}: the tensor {name} belongs to no CLIP image tower that is known")
    return found


def _without_batch(name: str, value: torch.Tensor) -> torch.Tensor:
    """Embeddings without the axis of one that Wan's own have in front."""
    axes = {"embeddings.class_embedding": 1, "embeddings.position_embedding.weight": 2}.get(name, value.ndim)
    while value.ndim > axes and value.shape[0] == 1:
        value = value[0]
    return value


def vision_config(weights: Mapping[str, torch.Tensor], where: str) -> CLIPVisionConfig:
    """The geometry that the tensors have; activation (GELU) and eps (1e-5) are those of the published model.

    Raises:
        ModelBroken: a tensor that tells it is missing or has another number of axes.
    """
    from transformers import CLIPVisionConfig

    patches = _shape(weights, "embeddings.patch_embedding.weight", 4, where)
    positions = _shape(weights, "embeddings.position_embedding.weight", 2, where)
    inner = _shape(weights, "encoder.layers.0.mlp.fc1.weight", 2, where)
    width, patch = patches[0], patches[-1]
    grid = math.isqrt(max(positions[0] - 1, 0))
    if width % _HEAD_WIDTH or grid < 1 or grid * grid + 1 != positions[0]:
        raise ModelBroken(
            f"{where}: {positions[0]} positions of width {width} are not a ViT-H's image tower (a class token and a "
            f"square of patches, heads of {_HEAD_WIDTH})"
        )
    layers = 1 + max(int(match[1]) for name in weights if (match := _LAYER.match(name)))
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=inner[0],
        num_hidden_layers=layers,
        num_attention_heads=width // _HEAD_WIDTH,
        image_size=grid * patch,
        patch_size=patch,
        hidden_act="gelu",
        layer_norm_eps=1e-5,
    )


def _shape(weights: Mapping[str, torch.Tensor], name: str, axes: int, where: str) -> tuple[int, ...]:
    if name not in weights:
        raise ModelBroken(f"{where}: the tensor {name} is missing from the image tower")
    shape = tuple(weights[name].shape)
    if len(shape) != axes:
        raise ModelBroken(f"{where}: the tensor {name} is {shape}, not one of {axes} axes")
    return shape

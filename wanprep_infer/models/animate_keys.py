"""Wan2.2-Animate's tensor names in the official checkpoint and in diffusers, and what the tensors say of the network.

Names follow the Wan2.2 official checkpoint and diffusers' `WanAnimateTransformer3DModel`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from wanprep.models.errors import ModelBroken
from wanprep.models.motion_keys import MOTION_PREFIX, diffusers_motion_name

if TYPE_CHECKING:
    import torch

Shape: TypeAlias = tuple[int, ...]

_STEMS = {
    "patch_embedding": "patch_embedding",
    "pose_patch_embedding": "pose_patch_embedding",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "img_emb.proj.0": "condition_embedder.image_embedder.norm1",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "img_emb.proj.4": "condition_embedder.image_embedder.norm2",
    "head.head": "proj_out",
    "face_encoder.conv1_local.conv": "face_encoder.conv1_local",
    "face_encoder.conv2.conv": "face_encoder.conv2",
    "face_encoder.conv3.conv": "face_encoder.conv3",
    "face_encoder.out_proj": "face_encoder.out_proj",
}
_PARAMETERS = {
    "head.modulation": "scale_shift_table",
    "face_encoder.padding_tokens": "face_encoder.padding_tokens",
}
_ATTENTION = {
    "q": "to_q",
    "k": "to_k",
    "v": "to_v",
    "o": "to_out.0",
    "norm_q": "norm_q",
    "norm_k": "norm_k",
    "k_img": "add_k_proj",
    "v_img": "add_v_proj",
    "norm_k_img": "norm_added_k",
}
_IN_BLOCK = {
    **{f"self_attn.{theirs}": f"attn1.{ours}" for theirs, ours in _ATTENTION.items() if "img" not in theirs},
    **{f"cross_attn.{theirs}": f"attn2.{ours}" for theirs, ours in _ATTENTION.items()},
    "norm3": "norm2",  # the one before the cross attention, the only one with weights
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
}
_IN_FUSER = {
    "linear1_q": ("to_q",),
    "linear1_kv": ("to_k", "to_v"),  # keys above values
    "linear2": ("to_out",),
    "q_norm": ("norm_q",),
    "k_norm": ("norm_k",),
}

_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)\.(weight|bias)")
_MODULATION = re.compile(r"blocks\.(\d+)\.modulation")
_FUSER = re.compile(r"face_adapter\.fuser_blocks\.(\d+)\.(.+)\.(weight|bias)")


def is_official(names: Iterable[str]) -> bool:
    """Whether tensors are named as in the official checkpoint."""
    return any(name.startswith(("blocks.0.self_attn.", "head.", "time_embedding.")) for name in names)


def diffusers_names(name: str) -> tuple[str, ...]:
    """Diffusers' names of what an official tensor holds: one; two for a face adapter's keys and values, which it holds
    one above the other along axis 0; none for the motion encoder's blur kernels, constants that diffusers makes itself.

    Raises:
        ValueError: no tensor of the official transformer.
    """
    if name.startswith(MOTION_PREFIX):
        found = diffusers_motion_name(name)
        return () if found is None else (found,)
    if name in _PARAMETERS:
        return (_PARAMETERS[name],)
    if match := _MODULATION.fullmatch(name):
        return (f"blocks.{match[1]}.scale_shift_table",)
    if (match := _BLOCK.fullmatch(name)) and match[2] in _IN_BLOCK:
        return (f"blocks.{match[1]}.{_IN_BLOCK[match[2]]}.{match[3]}",)
    if (match := _FUSER.fullmatch(name)) and match[2] in _IN_FUSER:
        return tuple(f"face_adapter.{match[1]}.{part}.{match[3]}" for part in _IN_FUSER[match[2]])
    stem, _, kind = name.rpartition(".")
    if stem in _STEMS and kind in ("weight", "bias"):
        return (f"{_STEMS[stem]}.{kind}",)
    raise ValueError(f"{name} is no tensor of the official Animate transformer")


def diffusers_shapes(name: str, shape: Shape) -> dict[str, Shape]:
    """Diffusers' names and shapes of what an official tensor of this shape holds.

    Raises:
        ValueError: no tensor of the official transformer, or one that should come apart and does not.
    """
    found = diffusers_names(name)
    if len(found) > 1 and (not shape or shape[0] % len(found)):
        raise ValueError(f"{name} of shape {list(shape)} does not come apart into keys and values")
    if name.startswith(MOTION_PREFIX) and name.endswith(".bias"):
        shape = (math.prod(shape),)  # [1, channels, 1, 1] of an activation, [channels] of a linear layer
    elif len(found) > 1:
        shape = (shape[0] // len(found), *shape[1:])
    return dict.fromkeys(found, shape)


def diffusers_tensors(name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """What an official tensor holds, under diffusers' names; parts of the tensor, not copies.

    Raises:
        ValueError: as `diffusers_shapes`.
    """
    shapes = diffusers_shapes(name, tuple(tensor.shape))
    parts = tensor.chunk(len(shapes)) if shapes else ()
    return {new: part.reshape(shape) for (new, shape), part in zip(shapes.items(), parts, strict=True)}


def inferred_config(shapes: Mapping[str, Shape], where: str) -> dict[str, Any]:
    """The arguments of `WanAnimateTransformer3DModel` that tensors of these names (diffusers') and shapes belong to.

    `eps`, which no tensor tells, is that of the published model, 1e-6.

    Raises:
        ModelBroken: a tensor that tells a dimension is missing, or the dimensions do not fit together; one line that
            begins with `where`.
    """
    found = _Found(shapes, where)
    width, in_channels, *patch = found["patch_embedding.weight", 5]
    head_width = found["face_adapter.0.norm_q.weight", 1][0]
    layers = found.count("blocks.{}.attn1.to_q.weight")
    adapters = found.count("face_adapter.{}.to_q.weight")
    if width % head_width or layers % adapters:
        raise ModelBroken(
            f"{where}: {width} channels are no multiple of heads of {head_width}, or {layers} blocks none of "
            f"{adapters} face adapters: this is no Animate transformer"
        )
    residuals = found.count("motion_encoder.res_blocks.{}.conv2.weight")
    size = 4 << residuals  # each residual block halves the face, which ends with 4 pixels a side
    widths = {str(size): found["motion_encoder.conv_in.weight", 4][0]}
    for number in range(residuals):
        widths[str(size >> number + 1)] = found[f"motion_encoder.res_blocks.{number}.conv2.weight", 4][0]
    face_width = found["face_encoder.conv2.weight", 3][0]
    image_embedder = "condition_embedder.image_embedder.norm1.weight"
    image_keys = "blocks.0.attn2.add_k_proj.weight"
    return {
        "patch_size": tuple(patch),
        "num_attention_heads": width // head_width,
        "attention_head_dim": head_width,
        "in_channels": in_channels,
        "latent_channels": found["pose_patch_embedding.weight", 5][1],
        "out_channels": found["proj_out.weight", 2][0] // math.prod(patch),
        "text_dim": found["condition_embedder.text_embedder.linear_1.weight", 2][1],
        "freq_dim": found["condition_embedder.time_embedder.linear_1.weight", 2][1],
        "ffn_dim": found["blocks.0.ffn.net.0.proj.weight", 2][0],
        "num_layers": layers,
        "cross_attn_norm": "blocks.0.norm2.weight" in shapes,
        "image_dim": found[image_embedder, 1][0] if image_embedder in shapes else None,
        "added_kv_proj_dim": found[image_keys, 2][1] if image_keys in shapes else None,
        "motion_encoder_channel_sizes": widths,
        "motion_encoder_size": size,
        "motion_style_dim": found["motion_encoder.conv_out.weight", 4][0],
        "motion_dim": found["motion_encoder.motion_synthesis_weight", 2][1],
        "motion_encoder_dim": found["motion_encoder.motion_synthesis_weight", 2][0],
        "face_encoder_hidden_dim": face_width,
        "face_encoder_num_heads": found["face_encoder.conv1_local.weight", 3][0] // face_width,
        "inject_face_latents_blocks": layers // adapters,
    }


class _Found:
    """Shapes by name and number of axes; a tensor that is not there or has other axes is the error."""

    def __init__(self, shapes: Mapping[str, Shape], where: str) -> None:
        self._shapes, self._where = shapes, where

    def __getitem__(self, wanted: tuple[str, int]) -> Shape:
        name, axes = wanted
        shape = self._shapes.get(name)
        if shape is None or len(shape) != axes or 0 in shape:
            raise ModelBroken(
                f"{self._where}: tensor {name} is missing or has other than {axes} axes: "
                "this is no Animate transformer"
            )
        return shape

    def count(self, pattern: str) -> int:
        """How many there are of a numbered tensor, from 0 on."""
        number = 0
        while pattern.format(number) in self._shapes:
            number += 1
        if not number:
            raise ModelBroken(
                f"{self._where}: tensor {pattern.format(0)} is missing: this is no Animate transformer"
            )
        return number

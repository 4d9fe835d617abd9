"""The Wan VAEs' tensor names in the official files and in diffusers, and what the tensors say of the architecture.

Names follow the Wan2.1 and Wan2.2 official code and diffusers' `AutoencoderKLWan`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from wanprep.models.errors import ModelBroken

Shape: TypeAlias = tuple[int, ...]

# Per-channel mean and standard deviation of the latents, of the models as published (Wan2.1 and Wan2.2 official code).
PUBLISHED_NORMS: dict[int, tuple[tuple[float, ...], tuple[float, ...]]] = {
    16: (
        (
            -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
            0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
        ),
        (
            2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
            3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
        ),
    ),
    48: (
        (
            -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557,
            -0.1382, 0.0542, 0.2813, 0.0891, 0.1570, -0.0098, 0.0375, -0.1825,
            -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502,
            -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230,
            -0.0313, -0.1649, 0.0117, 0.0723, -0.2839, -0.2083, -0.0520, 0.3748,
            0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
        ),
        (
            0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013,
            0.8158, 1.0344, 0.5894, 1.0901, 0.6885, 0.6165, 0.8454, 0.4978,
            0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659,
            0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093,
            0.5709, 0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458, 1.6887,
            0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
        ),
    ),
}  # fmt: skip

_TOP = {"conv1": "quant_conv", "conv2": "post_quant_conv"}
_ENDS = {"conv1": "conv_in", "head.0": "norm_out", "head.2": "conv_out"}
_MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}
_IN_BLOCK = {
    "residual.0": "norm1",
    "residual.2": "conv1",
    "residual.3": "norm2",
    "residual.6": "conv2",
    "shortcut": "conv_shortcut",
}
_SCALERS = ("resample", "time_conv")  # what a down- or upsampler consists of, in both namings

_END = re.compile(r"(encoder|decoder)\.(conv1|head\.0|head\.2)\.(.+)")
_MID = re.compile(r"(encoder|decoder)\.middle\.([012])\.(.+)")
_NESTED = re.compile(r"(encoder|decoder)\.(down|up)samples\.(\d+)\.(?:down|up)samples\.(\d+)\.(.+)")
_FLAT = re.compile(r"(encoder|decoder)\.(down|up)samples\.(\d+)\.(.+)")


def is_official(names: Iterable[str]) -> bool:
    """Whether tensors are named as in the official files."""
    return any(_FLAT.match(name) or name == "conv2.weight" for name in names)


def diffusers_names(names: Iterable[str]) -> dict[str, str]:
    """Each official tensor name -> diffusers' name for it; names of no known form stay as they are.

    The Wan2.1 files number residual blocks and samplers of a side through, the Wan2.2 files group them; diffusers
    groups all but the Wan2.1 encoder's.
    """
    listed = list(names)
    # In a numbered-through decoder, each upsampler ends a group.
    ends = sorted(
        {
            int(match[3])
            for name in listed
            if (match := _FLAT.fullmatch(name)) and match[1] == "decoder" and match[4].startswith(_SCALERS)
        }
    )
    return {name: _renamed(name, ends) for name in listed}


def _renamed(name: str, ends: list[int]) -> str:
    head, _, rest = name.partition(".")
    if head in _TOP:
        return f"{_TOP[head]}.{rest}"
    if match := _END.fullmatch(name):
        side, what, rest = match.groups()
        return f"{side}.{_ENDS[what]}.{rest}"
    if match := _MID.fullmatch(name):
        side, index, rest = match.groups()
        return f"{side}.mid_block.{_MIDDLE[index]}.{_in_block(rest)}"
    if match := _NESTED.fullmatch(name):
        side, way, group, index, rest = match.groups()
        part = f"{way}sampler" if rest.startswith(_SCALERS) else f"resnets.{index}"
        return f"{side}.{way}_blocks.{group}.{part}.{_in_block(rest)}"
    if match := _FLAT.fullmatch(name):
        side, way, index, rest = match.groups()
        if way == "down":
            return f"{side}.down_blocks.{index}.{_in_block(rest)}"
        before = [end for end in ends if end < int(index)]
        part = f"resnets.{int(index) - (before[-1] + 1 if before else 0)}"
        if rest.startswith(_SCALERS):
            part = "upsamplers.0"
        return f"{side}.up_blocks.{len(before)}.{part}.{_in_block(rest)}"
    return name


def _in_block(rest: str) -> str:
    for theirs, ours in _IN_BLOCK.items():
        if rest.startswith(f"{theirs}."):
            return ours + rest[len(theirs) :]
    return rest


def inferred_config(shapes: Mapping[str, Shape], where: str) -> dict[str, Any]:
    """The arguments of `AutoencoderKLWan` that tensors of these names (diffusers') and shapes belong to.

    Raises:
        ModelBroken: a tensor that tells a dimension is missing, or the dimensions are of no Wan VAE; one line with
            `where`, the file.
    """
    convolutions = _Convolutions(shapes, where)
    base_dim, in_channels = convolutions["encoder.conv_in.weight"][:2]
    z_dim = convolutions["post_quant_conv.weight"][0]
    groups = _down_groups(shapes)
    if not groups or not all(group.widths for group in groups):
        raise ModelBroken(f"{where}: has no encoder.down_blocks of a Wan VAE")
    if any(group.widths[-1] % base_dim for group in groups):
        raise ModelBroken(f"{where}: the widths of encoder.down_blocks are no multiples of {base_dim}")
    multiples = [group.widths[-1] // base_dim for group in groups]
    patch = math.isqrt(in_channels // 3)
    if patch * patch * 3 != in_channels:
        raise ModelBroken(
            f"{where}: encoder.conv_in takes {in_channels} channels, no square of 3-channel pixels"
        )
    if z_dim not in PUBLISHED_NORMS:
        raise ModelBroken(
            f"{where}: has {z_dim} latent channels, and no config tells their mean and standard deviation; "
            "give its diffusers folder"
        )
    mean, std = PUBLISHED_NORMS[z_dim]
    return {
        "base_dim": base_dim,
        "decoder_base_dim": convolutions["decoder.conv_in.weight"][0] // multiples[-1],
        "z_dim": z_dim,
        "dim_mult": multiples,
        "num_res_blocks": len(groups[0].widths),
        "attn_scales": [],
        "temperal_downsample": [group.over_time for group in groups[:-1]],
        "latents_mean": list(mean),
        "latents_std": list(std),
        "is_residual": any(name.startswith("encoder.down_blocks.0.resnets.") for name in shapes),
        "in_channels": in_channels,
        "out_channels": convolutions["decoder.conv_out.weight"][0],
        "patch_size": patch if patch > 1 else None,
        "scale_factor_temporal": 2 ** sum(group.over_time for group in groups),
        "scale_factor_spatial": patch * 2 ** (len(groups) - 1),
    }


class _Convolutions:
    def __init__(self, shapes: Mapping[str, Shape], where: str) -> None:
        self._shapes, self._where = shapes, where

    def __getitem__(self, name: str) -> Shape:
        shape = self._shapes.get(name)
        if shape is None or len(shape) != 5:
            raise ModelBroken(
                f"{self._where}: tensor {name} is missing or no 3D convolution's: this is no Wan VAE"
            )
        return shape


class _Group:
    """Residual blocks of one resolution of the encoder: the width each puts out, and whether time is halved after."""

    def __init__(self) -> None:
        self.widths: list[int] = []
        self.over_time = False


def _down_groups(shapes: Mapping[str, Shape]) -> list[_Group]:
    nested = any(name.startswith("encoder.down_blocks.0.resnets.") for name in shapes)
    groups: list[_Group] = []
    block = 0
    ended = True
    while any(name.startswith(f"encoder.down_blocks.{block}.") for name in shapes):
        prefix = f"encoder.down_blocks.{block}."
        if ended or nested:
            groups.append(_Group())
        ended = False
        index = 0
        while (
            conv := shapes.get(f"{prefix}{f'resnets.{index}.' if nested else ''}conv2.weight")
        ) is not None:
            groups[-1].widths.append(conv[0])
            index += 1
            if not nested:
                break
        if any(name.startswith((f"{prefix}resample.", f"{prefix}downsampler.")) for name in shapes):
            groups[-1].over_time = any(".time_conv." in name for name in shapes if name.startswith(prefix))
            ended = True
        block += 1
    return groups

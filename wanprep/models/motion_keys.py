"""Tensor names of Wan2.2-Animate's motion encoder: in the official checkpoint, and in diffusers' transformer.

Names follow the Wan2.2 official checkpoint and diffusers' `WanAnimateTransformer3DModel`. Both begin with
`motion_encoder.`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MOTION_PREFIX = "motion_encoder."
_OFFICIAL = tuple(f"{MOTION_PREFIX}{part}." for part in ("enc", "dec"))

_CONVOLUTION = re.compile(r"enc\.net_app\.convs\.(\d+)\.(.+)")
_LINEAR = re.compile(r"enc\.fc\.(\d+)\.(weight|bias)")
_DIRECTIONS = "dec.direction.weight"

# Inside a convolution of the net: the first one, the last one, and the residual ones, which begin with index 1.
_FIRST = {"0.weight": "conv_in.weight", "1.bias": "conv_in.act_fn.bias"}
_LAST = {"weight": "conv_out.weight"}
_RESIDUAL = {
    "conv1.0.weight": "conv1.weight",
    "conv1.1.bias": "conv1.act_fn.bias",
    "conv2.1.weight": "conv2.weight",
    "conv2.2.bias": "conv2.act_fn.bias",
    "skip.1.weight": "conv_skip.weight",
}
_BLUR_KERNELS = frozenset({"conv2.0.kernel", "skip.0.kernel"})  # constants, which diffusers makes by itself


def is_official_motion(names: Iterable[str]) -> bool:
    """Whether tensors of a motion encoder are named as in the official checkpoint."""
    return any(name.startswith(_OFFICIAL) for name in names)


def diffusers_motion_name(name: str) -> str | None:
    """Diffusers' name of an official tensor of the motion encoder, both with `motion_encoder.` before; None for the
    constant blur kernels, which diffusers does not keep.

    The biases of activations (names that end with `act_fn.bias`) are [1, channels, 1, 1] in the official checkpoint
    and [channels] in diffusers; all other shapes are the same.

    Raises:
        ValueError: no tensor of the official motion encoder.
    """
    inside = name.removeprefix(MOTION_PREFIX)
    if name.startswith(_OFFICIAL):
        if inside == _DIRECTIONS:
            return f"{MOTION_PREFIX}motion_synthesis_weight"
        if match := _LINEAR.fullmatch(inside):
            return f"{MOTION_PREFIX}motion_network.{match[1]}.{match[2]}"
        if match := _CONVOLUTION.fullmatch(inside):
            number, rest = int(match[1]), match[2]
            if number and rest in _BLUR_KERNELS:
                return None
            if number == 0 and rest in _FIRST:
                return MOTION_PREFIX + _FIRST[rest]
            if number and rest in _LAST:
                return MOTION_PREFIX + _LAST[rest]
            if number and rest in _RESIDUAL:
                return f"{MOTION_PREFIX}res_blocks.{number - 1}.{_RESIDUAL[rest]}"
    raise ValueError(f"{name} is no tensor of the official motion encoder")

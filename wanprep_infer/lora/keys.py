"""What the tensors of a LoRA file say of which module, whatever naming the file follows.

Names are read apart: a prefix of the tool that wrote them, the module, and the tensor's part in the LoRA. Which of the
model's modules is meant is `lora_names`' to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from wanprep.models.errors import ModelBroken

if TYPE_CHECKING:
    import torch

# What tools put before a module's name: peft, ComfyUI, diffusers, DiffSynth.
_PREFIXES = ("base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer.", "pipe.dit.")
# musubi-tuner and kohya join the module's name with underscores behind this.
_FLAT_PREFIX = "lora_unet_"
# Underscores that stand for dots: before a number and before the parts that Wan's names are made of.
_FLAT_DOT = re.compile(r"_(?=\d+(?:_|$)|self_attn|cross_attn|ffn|[qkvo]$|[kv]_img$|head$|proj_\d)")

# Group 1 is the module; peft may put the adapter's name before `weight`.
_PARTS: tuple[tuple[str, str], ...] = (
    ("down", r"(.+?)\.(?:lora_A|lora_down|lora\.down)(?:\.[\w-]+)?\.weight"),
    ("up", r"(.+?)\.(?:lora_B|lora_up|lora\.up)(?:\.[\w-]+)?\.weight"),
    ("up_bias", r"(.+?)\.(?:lora_B|lora_up|lora\.up)(?:\.[\w-]+)?\.bias"),
    ("alpha", r"(.+?)\.alpha"),
    ("difference", r"(.+?)\.diff"),
    ("bias_difference", r"(.+?)\.diff_b"),
)
_PATTERNS = tuple((part, re.compile(pattern)) for part, pattern in _PARTS)
# Other kinds of adapters, told apart by their tensors' names.
_OTHER_KINDS = {
    "lokr_": "LoKr",
    "hada_": "LoHa",
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "oft_": "OFT",
    "boft_": "BOFT",
    "glora_": "GLoRA",
}


@dataclass(frozen=True, slots=True)
class LoraEntry:
    """What a file holds for one module, under its name in the file without prefixes.

    `down` [r, in, ...] and `up` [out, r, ...] are the two factors; `alpha` is None where the file has none and then
    equals the rank. `difference` and `bias_difference` are whole tensors to be added to weight and bias, as distilled
    models' files bring for norms and biases; `up_bias` is added with the factors' scale.
    """

    down: torch.Tensor | None = None
    up: torch.Tensor | None = None
    up_bias: torch.Tensor | None = None
    alpha: torch.Tensor | None = None
    difference: torch.Tensor | None = None
    bias_difference: torch.Tensor | None = None

    def tensors(self) -> int:
        """How many tensors of the file this is."""
        return sum(getattr(self, field.name) is not None for field in fields(self))


def entries(tensors: Mapping[str, torch.Tensor], where: str) -> tuple[dict[str, LoraEntry], list[str]]:
    """The modules that a LoRA file speaks of, and the names that are of no LoRA.

    Args:
        tensors: the file's tensors by name.
        where: for messages, "LoRA path".

    Raises:
        ModelBroken: an adapter of another kind (LoKr, LoHa, DoRA, ...), two names for one tensor, or a factor without
            the other; names the tensor.
    """
    found: dict[str, dict[str, Any]] = {}
    left: list[str] = []
    for name, tensor in tensors.items():
        if kind := next((kind for mark, kind in _OTHER_KINDS.items() if mark in name), None):
            raise ModelBroken(
                f"{where}: is no plain LoRA but a {kind} (tensor {name}), which is not supported"
            )
        for part, pattern in _PATTERNS:
            if match := pattern.fullmatch(name):
                entry = found.setdefault(plain_name(match[1]), {})
                if part in entry:
                    raise ModelBroken(f"{where}: holds {part} of module {plain_name(match[1])} twice")
                entry[part] = tensor
                break
        else:
            left.append(name)
    for module, entry in found.items():
        if ("down" in entry) != ("up" in entry):
            there, lacking = ("down", "up") if "down" in entry else ("up", "down")
            raise ModelBroken(
                f"{where}: module {module} has a {there} factor (A is down, B is up) and no {lacking}"
            )
    return {module: LoraEntry(**entry) for module, entry in found.items()}, left


def plain_name(name: str) -> str:
    """A module's name without what tools put before it, with dots between its parts."""
    while prefix := next((prefix for prefix in _PREFIXES if name.startswith(prefix)), None):
        name = name.removeprefix(prefix)
    if name.startswith(_FLAT_PREFIX):
        name = _FLAT_DOT.sub(".", name.removeprefix(_FLAT_PREFIX))
    return name

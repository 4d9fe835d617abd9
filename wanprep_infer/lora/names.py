"""Which part of a transformer a LoRA file means by a module's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wanprep_infer.lora.keys import LoraEntry
from wanprep_infer.models.animate_keys import diffusers_names
from wanprep_infer.models.s2v.names import official_name

_BASE = ".base_layer"  # where peft keeps a layer that has a LoRA


@dataclass(frozen=True)
class Target:
    """A part of the model: its parameters' full names, and the layer that factors can be attached to.

    `module` is empty for what is no linear or convolution layer: a norm, a modulation table.
    """

    weight: str
    bias: str | None
    module: str


def find_targets(model: Any, found: Mapping[str, LoraEntry]) -> dict[str, Target]:
    """The model's part for each name of a LoRA file; names of parts that it lacks, or that cannot take what the file
    brings, are left out. Names are the model's own, or Wan's official ones."""
    parameters = {
        name.replace(_BASE, ""): name for name, _ in model.named_parameters() if ".lora_" not in name
    }
    official = {official_name(name): name for name in parameters}
    layers = _layers(model)
    targets: dict[str, Target] = {}
    for name, entry in found.items():
        for candidate in (name, _diffusers_name(name), _own_name(name, official)):
            target = _target(candidate, parameters, layers)
            if target and (target.module or entry.down is None):
                targets[name] = target
                break
    return targets


def _diffusers_name(name: str) -> str:
    """Diffusers' name of what the official Animate transformer calls so, a module or a parameter."""
    for ending in (".weight", ""):
        try:
            (found,) = diffusers_names(name + ending)
        except ValueError:  # of no such name, or of two layers in one
            continue
        return found.removesuffix(ending) if ending else found
    return name


def _own_name(name: str, official: Mapping[str, str]) -> str:
    """The name of ours of what the official S2V transformer calls so."""
    if found := official.get(f"{name}.weight"):
        return found.removesuffix(".weight")
    return official.get(name, name)


def _layers(model: Any) -> set[str]:
    """Names of the layers that factors can be attached to; peft's wrappers go by the name of what they wrap."""
    from torch import nn

    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return {
        name.replace(_BASE, "")
        for name, module in model.named_modules()
        if isinstance(module, kinds) and ".lora_" not in name
    }


def _target(name: str, parameters: Mapping[str, str], layers: set[str]) -> Target | None:
    weight = parameters.get(f"{name}.weight") or parameters.get(name)
    if weight is None:
        return None
    return Target(weight, parameters.get(f"{name}.bias"), name if name in layers else "")

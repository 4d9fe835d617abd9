"""LoRAs on a generator's transformer: relighting, styles, and the few-step distilled ones.

A LoRA adds `scale * alpha / rank * up @ down` to a layer's weight (arXiv:2106.09685). It is attached as peft layers
beside the weight, which then stays as it is, or merged into it.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wanprep.errors import UsageError
from wanprep.models.digest import files_digest
from wanprep.models.errors import ModelBroken
from wanprep_infer.lora.files import LoraSettings, find_lora, read_lora
from wanprep_infer.lora.keys import LoraEntry, entries
from wanprep_infer.lora.names import Target, find_targets

if TYPE_CHECKING:
    import torch

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_SHOWN = 3  # names in a warning
_ADAPTER = "lora"  # peft's name of the first one; the others are numbered
_ROOT = "model"  # peft's name of the transformer

_log = logging.getLogger("wanprep.models")


@dataclass(frozen=True)
class Lora:
    """A LoRA's file or folder, and how strongly it counts: 1 as trained, 0 not at all, below 0 the opposite."""

    path: str
    scale: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Lora:
        """PATH or PATH:SCALE. What follows the last colon is the scale when it is a number; colons before it, and one
        that no number follows (a drive's, say), belong to the path.

        Raises:
            UsageError: there is no path, or the scale is not finite.
        """
        path, colon, number = text.rpartition(":")
        if not (colon and _NUMBER.fullmatch(number)):
            path, number = text, "1"
        if not path.strip():
            raise UsageError(
                f"LoRA '{text}': has no path; give PATH or PATH:SCALE, such as style.safetensors:0.8"
            )
        if not math.isfinite(float(number)):
            raise UsageError(f"LoRA '{text}': the scale {number} is too large for a number")
        return cls(path, float(number))

    def __str__(self) -> str:
        return f"{self.path}:{self.scale!r}"

    def digest(self) -> str:
        """BLAKE2b-128, hex, of the LoRA's weights, and of peft's config where there is one. The scale is not in it.

        Raises:
            ModelMissing: there is no LoRA at this path.
            ModelBroken: not a kind of file that LoRAs are read from, or it cannot be read.
        """
        file = find_lora(self.path)
        try:
            return (
                files_digest(file.weights.parent, file.files) if file.config else files_digest(file.weights)
            )
        except OSError as error:
            raise ModelBroken(f"LoRA {self.path}: cannot be read ({error.strerror or error})") from error


def attach(model: Any, loras: Sequence[Lora], *, fuse: bool = False) -> None:
    """Attaches LoRAs to a transformer, all at once active, in place. To be called before `memory.place`.

    Taken are torch files (.ckpt, .pt, .pth, .bin) and safetensors with Wan's official names (bare, or as peft, ComfyUI,
    DiffSynth or musubi-tuner write them) or the model's own. Whole differences of weights, norms and biases that
    distilled models' files bring are added to the parameters.

    Args:
        model: diffusers' WanAnimateTransformer3DModel, or WanS2VTransformer3DModel.
        fuse: add the products to the weights: steps then cost what they cost without LoRAs, and no memory is taken, but
            weights are rounded to the model's precision once more.

    Raises:
        ModelMissing: no such file.
        ModelBroken: damaged, of no LoRA, a tensor of another shape than the model's, or nothing in it is of this
            model; one line that names the tensor.
        ValueError: the model has been placed already.
    """
    if not loras:
        return
    if any(hasattr(module, "_diffusers_hook") for module in model.modules()):
        raise ValueError("LoRAs are attached before a model is placed on its device")
    for number, lora in enumerate(loras, start=len(_adapters(model))):
        tensors, settings = read_lora(find_lora(lora.path))
        attach_tensors(model, tensors, settings, lora, adapter=f"{_ADAPTER}{number or ''}", fuse=fuse)


@dataclass(frozen=True)
class _Pair:
    """The two factors for one of the model's layers, and by what their product is multiplied, the user's scale out."""

    target: Target
    down: torch.Tensor
    up: torch.Tensor
    factor: float


def attach_tensors(
    model: Any,
    tensors: Mapping[str, torch.Tensor],
    settings: LoraSettings,
    lora: Lora,
    *,
    adapter: str = _ADAPTER,
    fuse: bool = False,
) -> None:
    """Attaches the tensors of one LoRA file; `lora` gives the scale and the name for messages. Raises as `attach`."""
    where = f"LoRA {lora.path}"
    found, left = entries(tensors, where)
    targets = find_targets(model, found)
    lacking = sorted(name for name in found if name not in targets)
    unknown = sum(found[name].tensors() for name in lacking) + len(left)
    if unknown == len(tensors):
        first = next(iter(tensors), "none")
        raise ModelBroken(
            f"{where}: none of its {len(tensors)} tensors is of a part of this model; the first is {first}"
        )
    pairs: list[_Pair] = []
    differences: list[tuple[str, torch.Tensor]] = []
    # All is checked before anything is changed.
    for name, target in targets.items():
        if pair := _pair(model, target, name, found[name], settings, where):
            pairs.append(pair)
        differences += _differences(model, target, name, found[name], pair, where)
    if unknown:
        names = lacking + left
        shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        _log.warning(
            f"{where}: {unknown} of its {len(tensors)} tensors are of no part of this model and are left out ({shown})"
        )
    for parameter, difference in differences:
        _add(model.get_parameter(parameter), difference, lora.scale)
    if fuse:
        for pair in pairs:
            weight = model.get_parameter(pair.target.weight)
            _add(weight, _product(pair, weight.device), lora.scale * pair.factor)
    elif pairs:
        _inject(model, pairs, adapter, lora.scale)


def _pair(
    model: Any, target: Target, name: str, entry: LoraEntry, settings: LoraSettings, where: str
) -> _Pair | None:
    if entry.down is None or entry.up is None:
        return None
    weight = model.get_parameter(target.weight)
    rank = entry.down.shape[0] if entry.down.ndim else 0
    wanted = ((rank, *weight.shape[1:]), (weight.shape[0], rank, *(1 for _ in weight.shape[2:])))
    for part, tensor, shape in zip(("down", "up"), (entry.down, entry.up), wanted, strict=True):
        if tuple(tensor.shape) != shape or not rank:
            raise ModelBroken(
                f"{where}: the {part} factor of {name} has the shape {list(tensor.shape)}, not {list(shape)}"
            )
    alpha = None
    if entry.alpha is not None:
        if entry.alpha.numel() != 1 or not math.isfinite(float(entry.alpha)):
            raise ModelBroken(f"{where}: alpha of {name} is not one finite number")
        alpha = float(entry.alpha)
    return _Pair(target, entry.down, entry.up, settings.factor(name, rank, alpha))


def _differences(
    model: Any, target: Target, name: str, entry: LoraEntry, pair: _Pair | None, where: str
) -> list[tuple[str, torch.Tensor]]:
    """What is to be added to parameters as it is, but for the user's scale."""
    found: list[tuple[str, torch.Tensor]] = []
    if entry.difference is not None:
        found.append((target.weight, entry.difference))
    biases = [entry.bias_difference] if entry.bias_difference is not None else []
    if entry.up_bias is not None and pair is not None:
        biases.append(entry.up_bias * pair.factor)
    if biases and target.bias is None:
        raise ModelBroken(f"{where}: brings a bias for {name}, which has none in this model")
    found += [(str(target.bias), bias) for bias in biases]
    for parameter, tensor in found:
        shape = tuple(model.get_parameter(parameter).shape)
        if tuple(tensor.shape) != shape:
            raise ModelBroken(
                f"{where}: the difference of {name} has the shape {list(tensor.shape)}, not {list(shape)}"
            )
    return found


def _add(parameter: torch.Tensor, difference: torch.Tensor, factor: float) -> None:
    """Adds to a parameter in float32, and rounds once."""
    total = parameter.data.float() + factor * difference.to(parameter.device).float()
    parameter.data.copy_(total)


def _product(pair: _Pair, device: torch.device) -> torch.Tensor:
    """up @ down in the weight's shape, float32."""
    import torch

    down, up = pair.down.to(device).float(), pair.up.to(device).float()
    return torch.reshape(up.flatten(1) @ down.flatten(1), (len(up), *down.shape[1:]))


def _inject(model: Any, pairs: Sequence[_Pair], adapter: str, scale: float) -> None:
    import torch
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
    from peft.tuners.lora import LoraLayer

    ranks = {f"{_ROOT}.{pair.target.module}": pair.down.shape[0] for pair in pairs}
    rank = Counter(ranks.values()).most_common(1)[0][0]
    factors: dict[str, torch.Tensor] = {}
    for pair in pairs:
        weight = model.get_parameter(pair.target.weight)
        for letter, tensor in (("A", pair.down), ("B", pair.up)):
            name = f"{_ROOT}.{pair.target.module}.lora_{letter}.weight"
            factors[name] = tensor.to(device=weight.device, dtype=weight.dtype)
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        target_modules=sorted(ranks),
        rank_pattern={f"^{re.escape(name)}": own for name, own in ranks.items() if own != rank},
    )
    # peft reads a model's config where it has one, and S2V's looks to it like a language model's.
    root = torch.nn.ModuleDict({_ROOT: model})
    inject_adapter_in_model(config, root, adapter, low_cpu_mem_usage=True, state_dict=factors)
    set_peft_model_state_dict(root, factors, adapter, low_cpu_mem_usage=True)
    for pair in pairs:
        layer = model.get_submodule(pair.target.module)
        layer.scaling[adapter] = scale * pair.factor
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.set_adapter(list(layer.lora_A))
    # As peft and diffusers mark a model that has adapters.
    model.peft_config = {**getattr(model, "peft_config", {}), adapter: config}
    model._hf_peft_config_loaded = True
    model.requires_grad_(False)


def _adapters(model: Any) -> set[str]:
    return {name for module in model.modules() for name in getattr(module, "lora_A", ())}

"""Which adapters (LoRA layers of peft) of a model work now, to tell whether what was computed once still holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import torch

AdapterState: TypeAlias = tuple[Any, ...]


def adapter_state(model: torch.nn.Module) -> AdapterState:
    """A value that differs from an earlier one when adapters were attached, removed, switched, weighted anew or merged
    in between. Empty for a model without adapters.

    It holds the adapters' layers themselves, so that none can take an earlier one's place unnoticed. Weights that were
    changed in place are not seen.
    """
    if not getattr(model, "peft_config", None):
        return ()
    return tuple(_states(model))


def _states(model: torch.nn.Module) -> Iterator[Any]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    for layer in model.modules():
        if not isinstance(layer, BaseTunerLayer):
            continue
        scaling = getattr(layer, "scaling", None) or {}
        held = getattr(layer, "lora_A", None) or {}
        yield (
            layer,
            bool(layer.disable_adapters),
            tuple(layer.merged_adapters),
            tuple((name, scaling.get(name), _item(held, name)) for name in layer.active_adapters),
        )


def _item(modules: Any, name: str) -> Any:
    """What torch's ModuleDict, which has no `get`, holds under a name."""
    return modules[name] if name in modules else None  # noqa: SIM401

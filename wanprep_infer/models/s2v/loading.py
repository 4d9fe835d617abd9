"""Fills a transformer from safetensors shards, a tensor at a time: no more memory than the model itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn

from wanprep.models.errors import ModelBroken
from wanprep.models.loading import check_loading_info, check_safetensors
from wanprep_infer.models.s2v.names import found_names


def load_shards(
    model: nn.Module,
    files: Sequence[Path],
    where: Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    float32_modules: Sequence[str],
) -> None:
    """Puts every tensor of the files into the model, each straight on `device` and in its dtype.

    Args:
        model: on the meta device or not; its parameters are replaced.
        files: safetensors, in any of the three layouts (see `names`).
        where: the folder, for messages.
        dtype: of all parameters but those below `float32_modules`, which are float32.

    Raises:
        ModelBroken: a file is damaged, a tensor is missing, left over, misshapen, there twice or of integers, or the
            files are of another model; one line.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        check_safetensors(file)
        with safe_open(file, framework="pt") as shard:
            for name in shard.keys():  # noqa: SIM118 (not iterable itself)
                if name in shapes:
                    raise ModelBroken(f"model {where}: {file.name} holds {name} once more")
                shapes[name] = tuple(shard.get_slice(name).get_shape())
    ours = _checked(model, shapes, where)
    for file in files:
        with safe_open(file, framework="pt", device=str(device)) as shard:
            for name in shard.keys():  # noqa: SIM118
                owner, _, leaf = ours[name].rpartition(".")
                tensor = shard.get_tensor(name)
                if not tensor.is_floating_point():
                    raise ModelBroken(f"model {where}: tensor {name} is of {tensor.dtype}, not of floats")
                wide = any(part in float32_modules for part in ours[name].split("."))
                tensor = tensor.to(torch.float32 if wide else dtype)
                setattr(model.get_submodule(owner), leaf, nn.Parameter(tensor, requires_grad=False))


def _checked(model: nn.Module, shapes: Mapping[str, tuple[int, ...]], where: Path) -> dict[str, str]:
    """Each tensor of the files -> the model's name for it, all being there once and of the right shape."""
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    theirs = found_names(wanted, shapes.keys(), f"model {where}")
    check_loading_info(
        {
            "missing_keys": set(theirs.values()) - shapes.keys(),
            "unexpected_keys": shapes.keys() - set(theirs.values()),
            "mismatched_keys": [
                (theirs[name], shapes[theirs[name]], shape)
                for name, shape in wanted.items()
                if theirs[name] in shapes and shapes[theirs[name]] != shape
            ],
        },
        where,
    )
    return {name: our for our, name in theirs.items()}

"""Loads the Animate transformer from diffusers' files or the official ones, told apart by their tensors' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from wanprep.models.errors import ModelBroken
from wanprep.models.loading import check_loading_info, from_pretrained
from wanprep_infer.models.animate_keys import (
    Shape,
    diffusers_shapes,
    diffusers_tensors,
    inferred_config,
    is_official,
)
from wanprep_infer.models.animate_model import AnimateModel
from wanprep_infer.models.folder import GeneratorFolder


def load_animate_model(folder: GeneratorFolder, device: torch.device, dtype: torch.dtype) -> AnimateModel:
    """The transformer with every tensor of its files and no other, in evaluation mode, without gradients.

    Weights become `dtype`, but for those that diffusers' class keeps in float32 (time embedder, modulation, norms, the
    directions of motion).

    Raises:
        ModelBroken: a file is damaged, or a tensor is missing, unexpected or misshapen; names it.
    """
    files = _files(folder.weights)
    if is_official(files):
        model = official_model(files, folder.config(), device, dtype, f"model {folder.transformer}")
    else:
        model = from_pretrained(AnimateModel, folder.transformer, torch_dtype=dtype)
        # torch's own: diffusers' warns of float32 layers, though no type changes here.
        torch.nn.Module.to(model, device)
    model.eval().requires_grad_(False)
    return model


def official_model(
    files: Mapping[str, tuple[Path, Shape]],
    config: Mapping[str, Any],
    device: torch.device,
    dtype: torch.dtype,
    where: str,
) -> AnimateModel:
    """The model of official tensors, one file after the other, so that no second copy of the weights is in memory.

    Args:
        files: tensor name -> its file and shape.
        config: the folder's config.json; `eps` and `num_heads` are read.
        where: begins error messages.

    Raises:
        ModelBroken: a tensor is missing, unexpected or misshapen; names it.
    """
    model = empty_model({name: shape for name, (_, shape) in files.items()}, config, where)
    for path in sorted({path for path, _ in files.values()}):
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                for new, part in diffusers_tensors(name, tensors.get_tensor(name)).items():
                    _assign(model, new, part, device, dtype)
    for name, buffer in model.named_buffers():  # rotary tables and blur kernels, in no file
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, buffer.to(device))
    return model


def empty_model(shapes: Mapping[str, Shape], config: Mapping[str, Any], where: str) -> AnimateModel:
    """The model that official tensors of these shapes belong to, without weights (on the meta device; buffers real).

    Raises:
        ModelBroken: a tensor is missing, unexpected or misshapen; names it.
    """
    from accelerate import init_empty_weights

    try:
        found = {
            new: size for name, shape in shapes.items() for new, size in diffusers_shapes(name, shape).items()
        }
    except ValueError as error:
        raise ModelBroken(f"{where}: {error}") from error
    settings = inferred_config(found, where)
    if isinstance(eps := config.get("eps"), float):
        settings["eps"] = eps
    heads = config.get("num_heads", settings["num_attention_heads"])
    if heads != settings["num_attention_heads"]:
        raise ModelBroken(
            f"{where}: config.json says {heads} heads, the tensors are of {settings['num_attention_heads']}"
        )
    try:
        with init_empty_weights(include_buffers=False):
            model = AnimateModel(**settings)
    except (ValueError, AssertionError, ZeroDivisionError, RuntimeError, KeyError) as error:
        raise ModelBroken(f"{where}: its tensors make no Animate transformer ({error})") from error
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    check_loading_info(
        {
            "missing_keys": wanted.keys() - found.keys(),
            "unexpected_keys": found.keys() - wanted.keys(),
            "mismatched_keys": [
                (name, found[name], shape)
                for name, shape in wanted.items()
                if name in found and found[name] != shape
            ],
        },
        Path(where.removeprefix("model ")),
    )
    return model


def _assign(
    model: AnimateModel, name: str, tensor: torch.Tensor, device: torch.device, dtype: torch.dtype
) -> None:
    # A rule of diffusers' own loader, by parts of the name.
    exact = not tensor.is_floating_point() or set(model._keep_in_fp32_modules) & set(name.split("."))
    value = tensor.to(device, torch.float32 if exact else dtype).contiguous()
    if value.data_ptr() == tensor.data_ptr():
        value = value.clone()  # no view of a larger tensor, or of a file
    owner, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(owner), leaf, torch.nn.Parameter(value, requires_grad=False))


def _files(weights: Sequence[Path]) -> dict[str, tuple[Path, Shape]]:
    """Tensor name -> file and shape.

    Raises:
        ModelBroken: two files hold the same tensor.
    """
    found: dict[str, tuple[Path, Shape]] = {}
    for path in weights:
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                if name in found:
                    raise ModelBroken(
                        f"model {path}: holds tensor {name}, which {found[name][0].name} holds too"
                    )
                found[name] = (path, tuple(tensors.get_slice(name).get_shape()))
    return found

"""One clip on several GPUs: the tokens of a transformer divided among them, through diffusers' context parallelism.

Ulysses (arXiv:2309.14509): each GPU has a part of the tokens, but in self-attention all tokens of a part of the heads.
"""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from wanprep.errors import UsageError

_HOW = "torchrun --nproc-per-node GPUS --no-python wanprep-infer ..."


def begin_parallel(transformer: Any, device: torch.device) -> torch.device:
    """Has a transformer share its tokens with those of the other processes; returns the device of this one.

    Every process makes the same noise and holds the same latents before and after the transformer.

    Raises:
        UsageError: not started by torchrun with several processes, fewer GPUs than them, or the heads do not come
            apart evenly; one sentence. Later, in the transformer, when tokens do not.
    """
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks < 2 or "RANK" not in os.environ:
        raise UsageError(f"parallel=ulysses: takes one process a GPU, two or more; start it as `{_HOW}`")
    check_heads(int(transformer.config.num_attention_heads), ranks)
    if device.type != "cuda":
        raise UsageError("parallel=ulysses: takes GPUs; on a CPU leave it out")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if device.index >= (there := torch.cuda.device_count()):
        raise UsageError(
            f"parallel=ulysses: process {device.index} has no GPU, there are {there} here; start fewer"
        )
    torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl")
    divide(transformer, ranks)
    return device


def check_heads(heads: int, ranks: int) -> None:
    """Raises:
    UsageError: the heads do not come apart evenly.
    """
    if heads % ranks:
        fitting = ", ".join(str(number) for number in range(2, heads + 1) if heads % number == 0)
        raise UsageError(
            f"parallel=ulysses: {heads} heads cannot be divided among {ranks} GPUs; take {fitting} of them"
        )


def check_tokens(tokens: int, ranks: int) -> None:
    """Raises:
    UsageError: the tokens do not come apart evenly.
    """
    if tokens % ranks:
        raise UsageError(
            f"parallel=ulysses: {tokens} tokens cannot be divided among {ranks} GPUs; take a number of GPUs that "
            "divides them, or another picture size"
        )


def divide(transformer: nn.Module, ranks: int) -> None:
    """Sets up the exchange, where a process group is there already."""
    from diffusers import ContextParallelConfig, WanAnimateTransformer3DModel

    model: Any = transformer

    def check(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        check_tokens((args[0] if args else kwargs["hidden_states"]).shape[1], ranks)

    model.blocks[0].register_forward_pre_hook(check, with_kwargs=True)
    config = ContextParallelConfig(ulysses_degree=ranks)
    if isinstance(model, WanAnimateTransformer3DModel):
        model.enable_parallelism(config=config, cp_plan=_animate_plan())
        for adapter in model.face_adapter:
            _take_all(adapter, config._flattened_mesh)
    else:
        model.enable_parallelism(config=config)


def _animate_plan() -> dict[str, Any]:
    """Where an Animate transformer's tokens are divided and come together, as in diffusers' own plans of its Wan
    models; Animate has none there."""
    from diffusers.models._modeling_parallel import ContextParallelInput, ContextParallelOutput

    table = ContextParallelInput(split_dim=1, expected_dims=4, split_output=True)
    return {
        "rope": {0: table, 1: table},
        "blocks.0": {"hidden_states": ContextParallelInput(split_dim=1, expected_dims=3)},
        "proj_out": ContextParallelOutput(gather_dim=1, expected_dims=3),
    }


def _take_all(adapter: Any, mesh: Any) -> None:
    """Has a face adapter see the tokens of all: it goes by latent frames, which the parts do not end with. Its share of
    a step is small; every GPU computes all of it."""
    from diffusers.hooks.context_parallel import EquipartitionSharder

    adapter.processor._parallel_config = None

    def gather(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if args:
            return (EquipartitionSharder.unshard(args[0], 1, mesh), *args[1:]), kwargs
        return args, {
            **kwargs,
            "hidden_states": EquipartitionSharder.unshard(kwargs["hidden_states"], 1, mesh),
        }

    def part(_: nn.Module, args: tuple[Any, ...], found: torch.Tensor) -> torch.Tensor:
        kept: torch.Tensor = EquipartitionSharder.shard(found, 1, mesh)
        return kept

    adapter.register_forward_pre_hook(gather, with_kwargs=True)
    adapter.register_forward_hook(part)

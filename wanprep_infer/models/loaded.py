"""A generator's transformer and VAE, loaded and put where they compute: what is the same for every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch

from wanprep.models.device import Device, Precision, torch_device, torch_dtype
from wanprep.models.errors import ModelOutOfMemory
from wanprep.models.vae import Vae, load_vae
from wanprep_infer.lora import Lora, attach
from wanprep_infer.memory import MemoryConfig, advice, place
from wanprep_infer.models.folder import GeneratorFolder, GeneratorKind, find_generator

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

_WHY = 200  # characters of torch's message


class LoadTransformer(Protocol[T_co]):
    """Loads a folder's transformer straight to a device."""

    def __call__(
        self, folder: GeneratorFolder, *, device: torch.device | str, dtype: torch.dtype
    ) -> T_co: ...


@dataclass(frozen=True)
class LoadedGenerator(Generic[T]):
    """Loaded, with its LoRAs, and looked at; `place` puts it where it computes, which is to be done once.

    In between, weights are as they will be used, and none of them is moved or made smaller yet.
    """

    name: str
    transformer: T
    network: Any  # the module within the transformer that holds its weights
    vae: Vae
    vae_digest: str  # of its files
    vae_weights: str  # `Vae.fingerprint`
    memory: MemoryConfig
    device: torch.device  # that was asked for; with several GPUs `vae.device` says which one it is

    def place(self) -> None:
        """Moves transformer and VAE, as the memory options say; afterwards `vae.device` is where both compute.

        Raises:
            UsageError: `parallel` without torchrun, or with a number of GPUs that does not divide the heads.
            ModelOutOfMemory: they do not fit; says what is left to try.
        """
        with _fitting(self.name, self.memory):
            place(self.network, self.vae, self.memory, self.device)


def load_generator(
    name_or_path: str,
    kind: GeneratorKind,
    load: LoadTransformer[T],
    network: Callable[[T], Any],
    *,
    device: Device,
    precision: Precision,
    memory: MemoryConfig | None,
    loras: Sequence[Lora],
) -> LoadedGenerator[T]:
    """Loads what a run from the store needs of a model folder, in the official layout or in diffusers'.

    Args:
        network: the module that holds the transformer's weights.
        precision: of the transformer; the VAE runs in float32, as in the Wan2.2 official code.
        memory: what is given up for less memory; None: nothing.
        loras: attached in this order.

    Raises:
        ModelMissing: it is not on this machine, or is another kind of model.
        ModelBroken: a tensor is missing, unexpected or misshapen; names it.
        ModelOutOfMemory: it does not fit on the GPU; says what is left to try.
        UsageError: cuda was asked for and there is none.
    """
    folder = find_generator(name_or_path, kind)
    config = memory or MemoryConfig()
    place_on = torch_device(device)
    # A GPU never holds what is to wait elsewhere or to be made smaller first.
    straight = (config.offload, config.weights, config.parallel) == ("none", "as-loaded", "none")
    with _fitting(name_or_path, config):
        transformer = load(
            folder, device=place_on if straight else torch.device("cpu"), dtype=torch_dtype(precision)
        )
        attach(network(transformer), loras)
    vae = load_vae(str(folder.vae), "cpu", "float32")
    return LoadedGenerator(
        name=name_or_path,
        transformer=transformer,
        network=network(transformer),
        vae=vae,
        vae_digest=folder.digest("vae"),
        vae_weights=vae.fingerprint,
        memory=config,
        device=place_on,
    )


@contextmanager
def _fitting(name: str, memory: MemoryConfig) -> Iterator[None]:
    """Says in one line that the GPU is too small."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        why = " ".join(str(error).split())[:_WHY]
        raise ModelOutOfMemory(f"model '{name}': does not fit on the GPU ({why}); {advice(memory)}") from None

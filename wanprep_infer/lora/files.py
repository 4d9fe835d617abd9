"""Reads LoRA files: safetensors, and torch's own where nothing in it can run."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wanprep.models.errors import ModelBroken, ModelMissing
from wanprep.models.loading import check_safetensors
from wanprep_infer.lora.keys import plain_name

if TYPE_CHECKING:
    import torch

# Of a folder, in this order: peft's name, diffusers' name.
_WEIGHTS = ("adapter_model.safetensors", "pytorch_lora_weights.safetensors")
_CONFIG = "adapter_config.json"  # peft's, beside its weights
_METADATA = "lora_adapter_metadata"  # diffusers' key in a safetensors header, with peft's config in it
_TORCH = (".ckpt", ".pt", ".pth", ".bin")
_NESTED = "state_dict"  # the one key of relighting_lora.ckpt
_MAX_CONFIG = 16 << 20  # bytes


@dataclass(frozen=True)
class LoraSettings:
    """What a config says beyond the tensors; `alpha` None: as large as the rank."""

    alpha: float | None = None
    alpha_by_module: Mapping[str, float] = field(default_factory=dict)
    by_root: bool = False  # alpha is divided by the root of the rank (rank-stabilised LoRA, arXiv:2312.03732)

    def factor(self, module: str, rank: int, alpha: float | None) -> float:
        """By what up @ down is multiplied; `alpha` is the file's own for this module and goes first."""
        if alpha is None:
            alpha = self.alpha_by_module.get(module, self.alpha)
        if alpha is None:
            return 1.0
        return alpha / (math.sqrt(rank) if self.by_root else rank)


@dataclass(frozen=True)
class LoraFile:
    """A LoRA's weights, and peft's config of it where there is one."""

    weights: Path
    config: Path | None

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that it is made of."""
        return (self.weights.name,) if self.config is None else (self.config.name, self.weights.name)


def find_lora(path: str) -> LoraFile:
    """The files of a LoRA: a file, or a folder as peft and diffusers save it.

    Raises:
        ModelMissing: there is none at this path, or the folder holds none or several.
        ModelBroken: not a kind of file that LoRAs are read from.
    """
    found = Path(path).expanduser()
    if found.is_dir():
        weights = next((found / name for name in _WEIGHTS if (found / name).is_file()), None)
        if weights is None:
            files = sorted(found.glob("*.safetensors"))
            if len(files) != 1:
                raise ModelMissing(
                    f"LoRA {path}: a folder with {len(files)} .safetensors files and no {' or '.join(_WEIGHTS)}; "
                    "give the file itself"
                )
            weights = files[0]
    elif found.is_file():
        weights = found
    else:
        raise ModelMissing(f"LoRA {path}: no such file{_hint(path)}")
    if weights.suffix.lower() not in (".safetensors", *_TORCH):
        raise ModelBroken(f"LoRA {path}: LoRAs are read from .safetensors and {', '.join(_TORCH)} files")
    config = weights.parent / _CONFIG
    return LoraFile(weights, config if weights.name == _WEIGHTS[0] and config.is_file() else None)


def _hint(path: str) -> str:
    before, colon, after = path.rpartition(":")
    if colon and before and Path(before).expanduser().exists():
        return f"; {before} is there, but '{after}' after the colon is no number, so it is not a scale"
    return ""


def read_lora(file: LoraFile) -> tuple[dict[str, torch.Tensor], LoraSettings]:
    """A LoRA's tensors on the CPU, mapped from the disk where the format allows, and its settings.

    Raises:
        ModelBroken: damaged, or holding objects that could run code, of which nothing is loaded.
    """
    if file.weights.suffix.lower() != ".safetensors":
        return _read_torch(file.weights), LoraSettings()
    from safetensors import safe_open

    check_safetensors(file.weights)
    with safe_open(file.weights, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
        metadata = (opened.metadata() or {}).get(_METADATA)
    where = f"LoRA {file.weights}"
    if file.config is not None:
        if file.config.stat().st_size > _MAX_CONFIG:
            raise ModelBroken(f"LoRA {file.config}: too large for a config")
        return tensors, _settings(file.config.read_bytes(), f"LoRA {file.config}")
    return tensors, _settings(metadata, where) if metadata else LoraSettings()


def _read_torch(path: Path) -> dict[str, torch.Tensor]:
    import torch

    try:
        mapped = zipfile.is_zipfile(path)  # files of the older format can only be read whole
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except MemoryError:
        raise
    except Exception as error:
        why = "holds more than tensors, objects that could run code; nothing of it was loaded"
        if "weights_only" not in str(error):
            why = f"is no file of tensors ({' '.join(str(error).split())[:200]})"
        raise ModelBroken(f"LoRA {path}: {why}") from error
    if isinstance(found, dict) and isinstance(found.get(_NESTED), dict):
        found = found[_NESTED]
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in found.items()
    ):
        raise ModelBroken(f"LoRA {path}: is no mapping of names to tensors, nor has one under {_NESTED}")
    return found


def _settings(text: str | bytes, where: str) -> LoraSettings:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelBroken(f"{where}: its config is no JSON ({error})") from error
    if not isinstance(document, dict):
        raise ModelBroken(f"{where}: its config is no JSON object")
    # diffusers puts the component before each key.
    config = {str(name).removeprefix("transformer."): value for name, value in document.items()}
    if config.get("use_dora"):
        raise ModelBroken(f"{where}: is no plain LoRA but a DoRA, which is not supported")
    by_module = config.get("alpha_pattern") or {}
    try:
        alpha = config.get("lora_alpha")
        return LoraSettings(
            alpha=None if alpha is None else float(alpha),
            alpha_by_module={_module(name): float(value) for name, value in by_module.items()},
            by_root=bool(config.get("use_rslora", False)),
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelBroken(f"{where}: its config's alpha is no number ({error})") from error


def _module(pattern: Any) -> str:
    """A module's name of a pattern: peft writes `^name` to match no other that ends in it."""
    return plain_name(str(pattern).removeprefix("^").removesuffix("$").replace("\\.", "."))

"""The Wan VAEs: Wan2.1 (16 channels, 4x8x8) and Wan2.2 (48 channels, 4x16x16), through diffusers.

Pixels are `pixels_CTHW`: RGB in -1 to 1, 4n+1 frames. Latents are `latents_CTHW`: the raw posterior mean, n+1 frames;
models take them whitened, (latents - mean) / std, which `Vae.whiten` does.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wanprep.models.device import Device, Precision, torch_device, torch_dtype
from wanprep.models.errors import ModelBroken, ModelMissing
from wanprep.models.fingerprint import weights_fingerprint
from wanprep.models.loading import check_safetensors, from_pretrained, load_pth, load_state
from wanprep.models.resolve import resolve
from wanprep.models.vae_keys import diffusers_names, inferred_config, is_official

if TYPE_CHECKING:
    import torch

    from wanprep.models.vae_stream import VaeDecoder, VaeEncoder

STRIDE_TIME = 4  # frames a latent frame after the first (both VAEs)

# File names in the official folders (Wan-AI on the hub).
_OFFICIAL_FILES = ("Wan2.1_VAE.pth", "Wan2.2_VAE.pth")
_PTH = (".pth", ".pt")

_log = logging.getLogger("wanprep.models")


@dataclass(frozen=True)
class Vae:
    """A loaded VAE. `stride` is pixels a latent column and row; `streams` is false when this diffusers does not let
    a clip be coded in pieces, and pieces are then collected and coded at the end."""

    model: Any  # diffusers' AutoencoderKLWan
    device: torch.device
    dtype: torch.dtype
    mean_C: npt.NDArray[np.float32]
    std_C: npt.NDArray[np.float32]
    stride: int
    patch: int  # pixels a side that the network takes as channels
    streams: bool = True

    @property
    def channels(self) -> int:
        return len(self.mean_C)

    @cached_property
    def fingerprint(self) -> str:
        """The digest of its weights by their values, hex: of an official file and of a diffusers folder of the same
        VAE the same, in float32 and in bfloat16. Equal fingerprints code alike, but for precision.

        Raises:
            ValueError: weights were offloaded or quantised before it was asked for.
        """
        return weights_fingerprint(self.model.state_dict())

    def encoder(self, tile: int | None = None) -> VaeEncoder:
        """An encoder for one clip that comes in pieces; `tile` as in `encode`."""
        from wanprep.models.vae_stream import VaeEncoder

        return VaeEncoder(self, tile)

    def decoder(self, tile: int | None = None) -> VaeDecoder:
        """A decoder for one clip whose latents come in pieces; `tile` as in `encode`."""
        from wanprep.models.vae_stream import VaeDecoder

        return VaeDecoder(self, tile)

    def encode(self, pixels_CTHW: torch.Tensor, tile: int | None = None) -> torch.Tensor:
        """The raw posterior mean [C, n+1, h, w] of 4n+1 frames [3,T,H,W] in -1 to 1, on the VAE's device.

        Args:
            tile: pixels; larger pictures are coded in squares of this side that overlap by a quarter and are
                blended, which takes less memory and changes the latents. None: whole.

        Raises:
            ValueError: the frames are not 4n+1, or a side is no multiple of the stride.
        """
        import torch

        encoder = self.encoder(tile)
        return torch.cat([encoder.add(pixels_CTHW, last=True), encoder.finish()], 1)

    def decode(
        self, latents_CTHW: torch.Tensor, tile: int | None = None, *, clamp: bool = True
    ) -> torch.Tensor:
        """Pixels [3, 4n+1, H, W] of raw latents [C, n+1, h, w], clamped to -1 to 1 as the official code does."""
        import torch

        decoder = self.decoder(tile)
        pixels_CTHW = torch.cat([decoder.add(latents_CTHW, last=True), decoder.finish()], 1)
        return pixels_CTHW.clamp(-1, 1) if clamp else pixels_CTHW

    def whiten(self, latents_CTHW: torch.Tensor) -> torch.Tensor:
        """(latents - mean) / std a channel: what Wan transformers take."""
        mean, std = self._norm(latents_CTHW)
        return (latents_CTHW - mean) / std

    def unwhiten(self, latents_CTHW: torch.Tensor) -> torch.Tensor:
        """The inverse of `whiten`: what `decode` takes."""
        mean, std = self._norm(latents_CTHW)
        return latents_CTHW * std + mean

    def _norm(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        mean, std = (
            torch.from_numpy(values).to(like)[:, None, None, None] for values in (self.mean_C, self.std_C)
        )
        return mean, std


def find_vae(name_or_path: str) -> Path:
    """Where a model's VAE is: a diffusers folder of it, or a weight file.

    Takes the VAE's own folder, a pipeline's folder with `vae/` in it, an official folder with Wan2.1_VAE.pth or
    Wan2.2_VAE.pth at its root, or the file.

    Raises:
        ModelMissing: no such model, or none of these is in its folder.
    """
    path = resolve(name_or_path, ("vae", *_OFFICIAL_FILES)).path
    if path.is_file():
        return path
    for folder in (path / "vae", path):
        if _class_name(folder / "config.json") == "AutoencoderKLWan":
            return folder
    for name in _OFFICIAL_FILES:
        if (path / name).is_file():
            return path / name
    raise ModelMissing(
        f"model {path}: has no Wan VAE; looked for vae/config.json and config.json of an AutoencoderKLWan, "
        f"{' and '.join(_OFFICIAL_FILES)}"
    )


def load_vae(name_or_path: str, device: Device = "auto", precision: Precision = "float32") -> Vae:
    """A VAE from a diffusers folder or an official file (.pth, or .safetensors with official or diffusers' names).

    Dimensions come from the folder's config, or from the tensors where a file has none. The official code runs the
    VAE in float32; float16 overflows in it.

    Raises:
        ModelMissing: it is not on this machine.
        ModelBroken: a tensor is missing, unexpected or misshapen, or the file is damaged; names it.
        UsageError: cuda was asked for and there is none.
        ValueError: float16.
    """
    if precision == "float16":
        raise ValueError("a Wan VAE runs in float32 or bfloat16: float16 overflows in it")
    path = find_vae(name_or_path)
    torch_place, dtype = torch_device(device), torch_dtype(precision)
    model = _from_folder(path, dtype) if path.is_dir() else _from_file(path, dtype)
    return as_vae(model.to(torch_place), f"model {path}")


def as_vae(model: Any, where: str = "the VAE") -> Vae:
    """A VAE that is loaded already (diffusers' AutoencoderKLWan, a pipeline's `vae` say), where and as it is.

    Raises:
        ModelBroken: its config is of no Wan VAE; one line that begins with `where`.
    """
    from wanprep.models.vae_stream import streams_exactly

    model = model.eval().requires_grad_(False)
    settings = model.config
    patch = int(settings.patch_size or 1)
    frames = 2 ** sum(map(bool, settings.temperal_downsample))
    if frames != STRIDE_TIME:
        raise ModelBroken(f"{where}: takes {frames} frames a latent frame; Wan VAEs take {STRIDE_TIME}")
    mean, std = settings.latents_mean, settings.latents_std
    if not _is_norm(mean, std, int(settings.z_dim)):
        raise ModelBroken(
            f"{where}: latents_mean and latents_std must be {settings.z_dim} numbers each, no std of 0"
        )
    vae = Vae(
        model=model,
        device=model.device,
        dtype=model.dtype,
        mean_C=np.array(mean, np.float32),
        std_C=np.array(std, np.float32),
        stride=patch * 2 ** (len(settings.dim_mult) - 1),
        patch=patch,
    )
    if streams_exactly(vae):
        return vae
    _log.warning("this diffusers does not code a clip in pieces: long clips take memory for all their frames")
    return replace(vae, streams=False)


def _class_name(config: Path) -> str | None:
    try:
        document = json.loads(config.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    name = document.get("_class_name") if isinstance(document, dict) else None
    return name if isinstance(name, str) else None


def _is_norm(mean: Sequence[float] | None, std: Sequence[float] | None, channels: int) -> bool:
    return bool(mean and std) and len(mean or ()) == len(std or ()) == channels and 0 not in (std or ())


def _model_class() -> Any:
    return import_module("diffusers").AutoencoderKLWan


def _from_folder(folder: Path, dtype: torch.dtype) -> Any:
    return from_pretrained(_model_class(), folder, torch_dtype=dtype)


def _from_file(path: Path, dtype: torch.dtype) -> Any:
    if path.suffix.lower() in _PTH:
        tensors = load_pth(path)
    elif path.suffix.lower() == ".safetensors":
        from safetensors.torch import load_file

        check_safetensors(path)
        tensors = load_file(path)
    else:
        raise ModelBroken(f"model {path}: a VAE is a folder, a .safetensors or a .pth file")
    if is_official(tensors):
        tensors = {new: tensors[old] for old, new in diffusers_names(tensors).items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    try:
        model = _model_class()(**inferred_config(shapes, f"model {path}"))
    except (ValueError, AssertionError, ZeroDivisionError, RuntimeError) as error:
        raise ModelBroken(
            f"model {path}: its tensors make no Wan VAE ({' '.join(str(error).split())})"
        ) from error
    load_state(model, tensors, path)
    # diffusers' own `to` warns of layers that must stay in float32; a Wan VAE has none.
    import_module("torch").nn.Module.to(model, dtype)
    return model

"""Wan2.2-Animate's motion encoder by itself: 512 numbers of a face, out of a transformer's folder of 69 GB.

It sees one frame at a time, so that vectors of a clip are made once and serve every segment, step and guidance branch.
Only its own tensors are read (90 MB in float32), and only the shards that hold them need to be there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wanprep.models.device import Device, Precision, torch_device, torch_dtype, with_less
from wanprep.models.errors import ModelBroken, ModelMissing
from wanprep.models.fingerprint import values_fingerprint, weights_fingerprint
from wanprep.models.loading import load_state
from wanprep.models.motion_keys import MOTION_PREFIX, diffusers_motion_name, is_official_motion
from wanprep.models.resolve import folder_of, missing, resolve
from wanprep.models.tensor_files import TensorFiles, tensor_files

if TYPE_CHECKING:
    import torch

_MODULE = "diffusers.models.transformers.transformer_wan_animate"
_RESIDUAL = "res_blocks.{}.conv2.weight"
_LINEAR = "motion_network.{}.weight"
_DIRECTIONS = "motion_synthesis_weight"
_LARGEST_SIZE = 2048  # pixels; 512 in the model as published

# Files with their sizes and times -> digest: a plan asks for it again and again.
_digests: dict[tuple[tuple[Path, int, int], ...], str] = {}


@dataclass(frozen=True)
class MotionWeights:
    """Where the motion encoder's tensors are. `names` maps diffusers' names, without `motion_encoder.`, to those in
    the files."""

    path: Path
    files: TensorFiles
    names: Mapping[str, str]

    def read(self, name: str) -> npt.NDArray[Any]:
        """One tensor under diffusers' name, in its shape there."""
        values = self.files.read(self.names[name])
        return values.reshape(-1) if name.endswith("act_fn.bias") else values


@dataclass(frozen=True)
class MotionEncoder:
    """A loaded motion encoder. `size` is the side of the faces it takes, pixels, `channels` the numbers of a vector."""

    model: Any  # diffusers' WanAnimateMotionEncoder
    device: torch.device
    dtype: torch.dtype
    size: int
    channels: int
    digest: str  # `motion_encoder_digest`

    def encode(self, pixels_CTHW: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Motion vectors, float32 [T, channels], of faces [3,T,size,size] from -1 to 1.

        Where they do not fit on the GPU together, fewer are taken at a time.

        Raises:
            ValueError: faces of another size.
            ModelOutOfMemory: not even one fits.
        """
        import torch

        count = pixels_CTHW.shape[1]
        pixels_TCHW = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels_CTHW, 1, 0)))

        def attempt(at_once: int) -> npt.NDArray[np.float32]:
            with torch.inference_mode():
                parts = [
                    self.model(part_TCHW.to(self.device, self.dtype)).float().cpu()
                    for part_TCHW in torch.split(pixels_TCHW, at_once)
                ]
            vectors_TC: npt.NDArray[np.float32] = torch.cat(parts).numpy()
            return vectors_TC

        if not count:
            return np.empty((0, self.channels), np.float32)
        return with_less([max(1, count >> halved) for halved in range(count.bit_length())], attempt)


def find_motion_encoder(name_or_path: str) -> MotionWeights:
    """Where a model's motion encoder is: in a diffusers pipeline's folder, its transformer's own, Wan's official
    folder, or a safetensors file. Other parts of the model need not be there.

    Raises:
        ModelMissing: no such model, or a shard that holds a part of it is not there; names it.
        ModelBroken: the model has no motion encoder, or a file is damaged.
    """
    from wanprep.models.fetch import fetchable

    root = folder_of(name_or_path)
    if root is None:
        root = resolve(name_or_path, ("transformer",)).path
    path = root / "transformer" if (root / "transformer").is_dir() else root
    try:
        files = tensor_files(name_or_path, path, (MOTION_PREFIX,))
    except ModelMissing as error:
        # In the words of `missing`, too, where fetching the model mends it: then a run may do so.
        lack = missing(name_or_path) if fetchable(name_or_path) else None
        raise ModelMissing(f"{error}; {lack}" if lack else str(error)) from None
    if not files.names:
        raise ModelBroken(
            f"model '{name_or_path}': {path} has no motion encoder: it is no transformer of Wan2.2-Animate"
        )
    return MotionWeights(path, files, _plain_names(files, path))


def missing_motion_encoder(name_or_path: str) -> str | None:
    """What is missing of a model's motion encoder, as one line; None when it is here. Reads no weights."""
    if folder_of(name_or_path) is None:
        return missing(name_or_path)
    try:
        find_motion_encoder(name_or_path)
    except (ModelMissing, ModelBroken) as error:
        return str(error)
    return None


def motion_weights_digest(name_or_path: str) -> str:
    """`motion_encoder_digest` of a model on this machine, without torch.

    Raises:
        ModelMissing, ModelBroken: as `find_motion_encoder` does.
    """
    weights = find_motion_encoder(name_or_path)
    files = tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in weights.files.files)
    if files not in _digests:
        _digests[files] = values_fingerprint(weights.names, weights.read)
    return _digests[files]


def motion_encoder_digest(module: torch.nn.Module) -> str:
    """The digest of a motion encoder's weights by their values, hex (`weights_fingerprint`): the same for official
    and diffusers files, and for a transformer's `motion_encoder` as it was loaded, in float32 or bfloat16.

    Raises:
        ValueError: its weights were offloaded or quantised before it was asked for.
    """
    return weights_fingerprint(module.state_dict())


def load_motion_encoder(
    name_or_path: str, device: Device = "auto", precision: Precision = "bfloat16"
) -> MotionEncoder:
    """The motion encoder of a model. The QR decomposition in it is made in float32 whatever the precision.

    Raises:
        ModelMissing: it is not on this machine.
        ModelBroken: a tensor is missing, unexpected or misshapen, or a file is damaged; names it.
        UsageError: cuda was asked for and there is none.
    """
    import torch

    weights = find_motion_encoder(name_or_path)
    state = {
        name: torch.from_numpy(np.array(weights.read(name), np.float32, order="C")) for name in weights.names
    }
    arguments = _arguments({name: tuple(tensor.shape) for name, tensor in state.items()}, weights.path)
    place, dtype = torch_device(device), torch_dtype(precision)
    model = import_module(_MODULE).WanAnimateMotionEncoder(**arguments)
    load_state(model, state, weights.path)
    digest = motion_encoder_digest(model)
    model = model.to(dtype).eval().requires_grad_(False)
    # Kept in float32 by diffusers' transformer, too.
    directions = torch.nn.Parameter(state[_DIRECTIONS], requires_grad=False)
    model.motion_synthesis_weight = directions
    return MotionEncoder(
        model=model.to(place),
        device=place,
        dtype=dtype,
        size=arguments["size"],
        channels=arguments["out_dim"],
        digest=digest,
    )


def _plain_names(files: TensorFiles, path: Path) -> dict[str, str]:
    if not is_official_motion(files.names):
        return {name.removeprefix(MOTION_PREFIX): name for name in files.names}
    try:
        named = {name: diffusers_motion_name(name) for name in files.names}
    except ValueError as error:
        raise ModelBroken(f"model {path}: {error}") from error
    return {new.removeprefix(MOTION_PREFIX): name for name, new in named.items() if new is not None}


def _arguments(shapes: Mapping[str, tuple[int, ...]], path: Path) -> dict[str, Any]:
    """The arguments of `WanAnimateMotionEncoder` that tensors of these shapes belong to.

    Raises:
        ModelBroken: a tensor that tells a dimension is missing or has other axes.
    """

    def axes(name: str, count: int) -> tuple[int, ...]:
        shape = shapes.get(name)
        if shape is None or len(shape) != count or not all(shape):
            what = "is missing" if shape is None else f"has the shape {list(shape)}"
            raise ModelBroken(f"model {path}: tensor {MOTION_PREFIX}{name} {what}")
        return shape

    halvings = next(i for i in range(len(shapes) + 1) if _RESIDUAL.format(i) not in shapes)
    linears = next(i for i in range(len(shapes) + 1) if _LINEAR.format(i) not in shapes)
    size = 2 ** (halvings + 2)  # the last convolution takes 4x4 (LIA's encoder)
    if not halvings or not linears or size > _LARGEST_SIZE:
        raise ModelBroken(
            f"model {path}: {halvings} residual and {linears} linear layers are no motion encoder's"
        )
    widths = {str(size): axes("conv_in.weight", 4)[0]}
    for number in range(halvings):
        widths[str(size >> (number + 1))] = axes(_RESIDUAL.format(number), 4)[0]
    return {
        "size": size,
        "style_dim": axes("conv_out.weight", 4)[0],
        "motion_dim": axes(_LINEAR.format(linears - 1), 2)[0],
        "out_dim": axes(_DIRECTIONS, 2)[0],
        "motion_blocks": linears,
        "channels": widths,
    }

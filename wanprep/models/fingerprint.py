"""A digest of a model's weights by their values: the same from whatever file, layout and precision they were loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from schemas.tensor import BFLOAT16

if TYPE_CHECKING:
    import torch

_BYTES = 16  # of BLAKE2b, as in keys


def values_fingerprint(names: Iterable[str], values: Callable[[str], npt.NDArray[Any]]) -> str:
    """BLAKE2b-128 of tensors, hex: their names and shapes, and their values rounded to bfloat16.

    Names must be the same for all layouts of a model: diffusers', with which they are loaded here. Rounding makes a
    model that was loaded in bfloat16 the one that was loaded in float32. One tensor at a time is asked for.
    """
    whole = hashlib.blake2b(digest_size=_BYTES)
    for name in sorted(names):
        rounded = np.ascontiguousarray(values(name)).astype(BFLOAT16, copy=False)
        whole.update(f"{name}\x1f{list(rounded.shape)}\x1e".encode())
        whole.update(rounded.view(np.uint16).reshape(-1).data)
    return whole.hexdigest()


def weights_fingerprint(tensors: Mapping[str, torch.Tensor]) -> str:
    """`values_fingerprint` of torch's tensors, on whatever device.

    Raises:
        ValueError: a tensor has no values here (on the meta device, as offloading leaves it), or is not of floats.
    """
    import torch

    def values(name: str) -> npt.NDArray[Any]:
        tensor = tensors[name].detach()
        if tensor.is_meta or not tensor.is_floating_point():
            why = "no values at hand" if tensor.is_meta else f"values of type {tensor.dtype}"
            raise ValueError(f"tensor {name} has {why}: take the fingerprint of weights as they were loaded")
        bits = tensor.to("cpu", torch.bfloat16).contiguous().view(torch.int16)
        found: npt.NDArray[Any] = bits.numpy().view(BFLOAT16)
        return found

    return values_fingerprint(tensors, values)

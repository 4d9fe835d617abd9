"""Where a model runs and in which precision; what happens when it does not fit."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, TypeVar

from wanprep.errors import UsageError
from wanprep.models.errors import ModelOutOfMemory

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "bfloat16", "float16"]

# Modules whose package on the index is called otherwise.
_PACKAGES = {"PIL": "pillow", "cv2": "opencv-contrib-python", "yaml": "pyyaml"}


def check_extra(*packages: str) -> str | None:
    """What to install when one of these modules is not there, as one line; None when all are. Imports nothing."""
    missing = [name for name in packages if find_spec(name) is None]
    if not missing:
        return None
    names = ", ".join(_PACKAGES.get(name, name) for name in missing)
    return f"needs {names}: pip install 'wanprep[models]'"


def torch_device(wanted: Device) -> torch.device:
    """The device for `wanted`; auto takes the GPU when there is one.

    Raises:
        UsageError: cuda was asked for and there is none.
    """
    import torch

    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        why = "this torch is built without CUDA" if torch.version.cuda is None else "torch finds no GPU"
        raise UsageError(
            f"device=cuda: {why}; take device=cpu or auto, or run on a machine with a GPU (see `wanprep doctor`)"
        )
    return torch.device("cuda" if wanted != "cpu" and there else "cpu")


def torch_dtype(precision: Precision) -> torch.dtype:
    """torch.float32, torch.bfloat16 or torch.float16."""
    import torch

    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]


def with_less(sizes: Sequence[int], attempt: Callable[[int], T]) -> T:
    """What `attempt` returns for the first of `sizes` (of a batch, a tile; falling) that fits on the GPU.

    Only CUDA's out-of-memory leads to the next size; the cache is freed in between.

    Raises:
        ValueError: `sizes` is empty.
        ModelOutOfMemory: the last one does not fit either; names it.
    """
    if not sizes:
        raise ValueError("with_less needs at least one size")
    import torch

    for size in sizes:
        try:
            return attempt(size)
        except torch.OutOfMemoryError as error:
            why = " ".join(str(error).split())
        # Outside the handler: its traceback would keep the tensors of the attempt alive.
        _free()
    raise ModelOutOfMemory(f"out of GPU memory even with size {sizes[-1]}: {why[:200]}")


def _free() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

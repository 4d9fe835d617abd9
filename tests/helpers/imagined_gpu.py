"""A GPU that is only imagined: shapes, dtypes and devices of every operation are real, values are not there.

torch's FakeTensorMode refuses operations whose tensors are on different devices, as a GPU does, and needs neither a GPU
nor the memory: models of the published size run in seconds. What such a run does is written down meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GPU = torch.device("cuda", 0)
_WIDEST_HEAD = 256  # channels that flash attention takes
_MULTIPLICATIONS = ("mm.", "addmm.", "bmm.", "convolution.", "linear.")


class Watched(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What happens on the imagined GPU. Sizes are in bytes; scratch memory of kernels is not counted."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reads = 0  # values that Python waited for
        self.attentions = 0  # of transformers, all of which flash attention takes; known at the end
        self.peak = 0  # most that tensors took at a time
        self.moved: list[tuple[str, int]] = []  # copies between GPU and CPU: "to" or "from", and size
        self.doubles = 0  # elements of the largest float64 tensor
        self.multiplied: dict[
            torch.dtype, int
        ] = {}  # elements of the largest result of a multiplication, by type
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}
        self._size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            self.reads += 1
            return 0
        found = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::") + "."
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        for each in tree_leaves(found):
            if isinstance(each, torch.Tensor):
                self._note(name, each, given)
        return found

    def restart(self) -> None:
        """Forgets what happened, not what is held."""
        self.live()
        self.reads, self.peak, self.doubles = 0, self._size, 0
        self.moved.clear()
        self.multiplied.clear()

    def live(self) -> int:
        """What tensors on the GPU take now."""
        for key in [key for key, (storage, _) in self._live.items() if _is_gone(storage)]:
            self._size -= self._live.pop(key)[1]
        return self._size

    def _note(self, name: str, made: torch.Tensor, given: list[torch.Tensor]) -> None:
        sources = {each.device.type for each in given}
        size = made.numel() * made.element_size()
        if name in ("_to_copy.", "copy_.") and sources and (other := sources - {made.device.type}):
            self.moved.append(("from" if "cuda" in other else "to", size))
        if made.device.type != "cuda":
            return
        if made.dtype == torch.float64:
            self.doubles = max(self.doubles, made.numel())
        if name in _MULTIPLICATIONS:
            self.multiplied[made.dtype] = max(self.multiplied.get(made.dtype, 0), made.numel())
        storage = made.untyped_storage()
        if (key := storage._cdata) not in self._live:
            self._live[key] = (StorageWeakRef(storage), storage.nbytes())  # type: ignore[no-untyped-call]
            self._size += storage.nbytes()
            if self._size > self.peak:  # counting anew takes time
                self.peak = max(self.peak, self.live())


def _is_gone(storage: Any) -> bool:
    return bool(storage.expired())


class _Attention(TorchFunctionMode):
    """Attention as flash attention does it: nothing of the size of queries times keys is made."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.refused: list[str] = []  # what flash attention does not take, in words

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        named = dict(zip(("query", "key", "value", "attn_mask"), args, strict=False)) | kwargs
        parts = [named[name] for name in ("query", "key", "value")]
        if parts[0].shape[1] == 1:  # the VAE's, of one head, which is float32 as the rest of it
            return torch.empty_like(parts[0])
        self.count += 1
        taken = all(part.dtype == torch.bfloat16 and part.device == GPU for part in parts)
        if not taken or named.get("attn_mask") is not None or parts[0].shape[-1] > _WIDEST_HEAD:
            self.refused.append(f"{[(part.dtype, part.device, part.shape) for part in parts]}")
        return torch.empty_like(parts[0])


@contextmanager
def imagined_gpu() -> Iterator[Watched]:
    """Tensors made within are imagined ones, on the CPU or on `GPU`. At the end every attention of a transformer must
    have been one that flash attention takes."""
    watched, attention = Watched(), _Attention()
    with FakeTensorMode(allow_non_fake_inputs=True), watched, attention:
        yield watched
    assert not attention.refused, attention.refused[:3]
    watched.attentions = attention.count


def as_loaded(model: Any, dtype: torch.dtype = torch.bfloat16) -> Any:
    """A model on the imagined GPU as diffusers loads it in `dtype`: some parts stay float32."""
    kept = model._keep_in_fp32_modules or ()
    for name, parameter in list(model.named_parameters()):
        owner, _, leaf = name.rpartition(".")
        wide = any(part in kept for part in name.split("."))
        moved = parameter.data.to(GPU, torch.float32 if wide else dtype)
        setattr(model.get_submodule(owner), leaf, torch.nn.Parameter(moved, requires_grad=False))
    for name, buffer in list(model.named_buffers()):
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, buffer.to(GPU))
    return model.eval()

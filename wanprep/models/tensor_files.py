"""Single tensors out of large safetensors checkpoints, sharded or not: headers are read, and values as asked for."""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.tensor import BFLOAT16
from wanprep.models.errors import ModelBroken, ModelMissing
from wanprep.models.folder import INDEX, shards_of
from wanprep.models.loading import check_safetensors

_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": BFLOAT16}
_STEM = "diffusion_pytorch_model.safetensors"  # of diffusers' folders and of Wan's official ones

Values = npt.NDArray[Any]


class _Entry(NamedTuple):
    dtype: str  # as safetensors names it
    shape: tuple[int, ...]
    start: int  # bytes behind the header
    stop: int


class TensorFiles:
    """Tensors by name, as in the files. Only the shards that hold one of those asked for have to be there."""

    def __init__(self, name: str, where: dict[str, Path]) -> None:
        self._model = name
        self._where = where
        self._headers: dict[Path, tuple[int, dict[str, Any]]] = {}

    @property
    def names(self) -> Collection[str]:
        return self._where.keys()

    @property
    def files(self) -> list[Path]:
        """The files that hold them, sorted."""
        return sorted(set(self._where.values()))

    def nbytes(self) -> int:
        """Of all of them, in the files."""
        entries = (self._entry(name) for name in self.names)
        return sum(entry.stop - entry.start for entry in entries)

    def read(self, name: str) -> Values:
        """One tensor, float32, float16 or bfloat16.

        Raises:
            KeyError: there is none of this name.
            ModelBroken: its file is damaged, lacks it, or holds it in another type.
        """
        file, entry = self._where[name], self._entry(name)
        dtype = _DTYPES.get(entry.dtype)
        if dtype is None:
            kinds = ", ".join(_DTYPES)
            raise ModelBroken(
                f"model {file}: tensor {name} is of type {entry.dtype!r:.20}; taken are {kinds}"
            )
        try:
            with file.open("rb") as source:
                source.seek(self._headers[file][0] + entry.start)
                data = source.read(entry.stop - entry.start)
            return np.frombuffer(data, dtype).reshape(entry.shape)
        except (OSError, ValueError) as error:
            raise ModelBroken(f"model {file}: tensor {name} cannot be read ({error})") from error

    def _entry(self, name: str) -> _Entry:
        file = self._where[name]
        if file not in self._headers:
            self._headers[file] = _header(file)
        entry = self._headers[file][1].get(name)
        if entry is None:
            raise ModelBroken(f"model {file}: lacks tensor {name}, which its index says is in it")
        try:
            start, stop = map(int, entry["data_offsets"])
            found = _Entry(str(entry["dtype"]), tuple(map(int, entry["shape"])), start, stop)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelBroken(f"model {file}: the header's entry of tensor {name} is damaged") from error
        if not 0 <= start <= stop or min(found.shape, default=0) < 0:
            raise ModelBroken(f"model {file}: the header's entry of tensor {name} is damaged")
        return found


def tensor_files(model: str, path: Path, prefixes: Iterable[str]) -> TensorFiles:
    """Those tensors of a checkpoint whose names begin with one of `prefixes`; maybe none.

    Args:
        model: its name, for messages.
        path: a folder with `diffusion_pytorch_model.safetensors` or the index of its shards, or a safetensors file.

    Raises:
        ModelMissing: no weights, or a shard that holds one of these tensors is not there; names it.
        ModelBroken: an index or a header is damaged.
    """
    begins = tuple(prefixes)
    index = path / f"{_STEM}{INDEX}"
    if path.is_dir() and index.is_file():
        if isinstance(wrong := shards_of(index), str):
            raise ModelBroken(f"model '{model}': {index} {wrong}")
        places = json.loads(index.read_bytes())["weight_map"]
        where = {name: path / str(shard) for name, shard in places.items() if name.startswith(begins)}
        if absent := sorted({file for file in where.values() if not file.is_file()}):
            example = next(name for name, file in where.items() if file == absent[0])
            raise ModelMissing(
                f"model '{model}': {absent[0]} is missing, which holds {example} and its neighbours"
            )
        return TensorFiles(model, where)
    file = path / _STEM if path.is_dir() else path
    if not file.is_file() or file.suffix != ".safetensors":
        raise ModelMissing(f"model '{model}': {path} has no {_STEM}, nor an index of its shards")
    return TensorFiles(model, {name: file for name in _header(file)[1] if name.startswith(begins)})


def _header(file: Path) -> tuple[int, dict[str, Any]]:
    """Where the values begin, and each tensor's entry.

    Raises:
        ModelBroken: the file is damaged or cannot be read.
    """
    check_safetensors(file)
    with file.open("rb") as source:
        (length,) = struct.unpack("<Q", source.read(8))
        header = json.loads(source.read(length))
    header.pop("__metadata__", None)
    return 8 + length, header

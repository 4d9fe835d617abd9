"""Tensors in a table: inline bytes when small, a reference into a latent shard when large."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pyarrow as pa

Tensor: TypeAlias = npt.NDArray[Any]

#: One Arrow cell that describes a tensor. `data` holds the bytes when the tensor is inline; otherwise
#: `file` names a safetensors shard beside the Parquet file and `offset` is the absolute byte in it.
#: Byte order is little-endian, layout C-contiguous; `digest` is the XXH3-128 of the bytes in hex.
TENSOR = pa.struct(
    [
        pa.field("dtype", pa.string()),
        pa.field("shape", pa.list_(pa.int64())),
        pa.field("data", pa.binary()),
        pa.field("file", pa.string()),
        pa.field("offset", pa.int64()),
        pa.field("nbytes", pa.int64()),
        pa.field("digest", pa.string()),
    ]
)

#: NumPy dtype name -> safetensors dtype name, the only ones a store may hold.
SAFETENSORS_DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "uint16": "U16",
    "int32": "I32",
    "int64": "I64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "bfloat16": "BF16",
}

#: NumPy's dtype for bfloat16, which NumPy has from the package ml_dtypes: the upper half of a float32.
BFLOAT16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)

_MAX_AXES = 8  # what a shard's header has room for


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype of a name that a tensor cell holds.

    Raises:
        ValueError: no dtype that a store holds.
    """
    if name not in SAFETENSORS_DTYPES:
        raise ValueError(f"{name!r:.40} is no dtype of a store ({', '.join(SAFETENSORS_DTYPES)})")
    return BFLOAT16 if name == "bfloat16" else np.dtype(name)


@runtime_checkable
class TensorStream(Protocol):
    """A tensor too long for memory: it has an array's dtype and shape, and gives its bytes in chunks.

    Slices along the first axis (`stream[start:stop]`) return ordinary arrays.
    """

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def chunks(self) -> Iterator[Tensor]: ...

    def __getitem__(self, rows: slice) -> Tensor: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRef:
    """Where a tensor's bytes are. Exactly one of `data` and `file` is set."""

    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    digest: str
    data: bytes | None = None
    file: str | None = None
    offset: int | None = None

    def to_cell(self) -> dict[str, Any]:
        return {
            "dtype": self.dtype,
            "shape": list(self.shape),
            "data": self.data,
            "file": self.file,
            "offset": self.offset,
            "nbytes": self.nbytes,
            "digest": self.digest,
        }

    @classmethod
    def from_cell(cls, cell: dict[str, Any]) -> TensorRef:
        return cls(
            dtype=cell["dtype"],
            shape=tuple(cell["shape"]),
            nbytes=cell["nbytes"],
            digest=cell["digest"],
            data=cell["data"],
            file=cell["file"],
            offset=cell["offset"],
        )

    def decode(self, data: bytes | memoryview | Tensor) -> Tensor:
        """Views bytes as the array this reference describes.

        Raises:
            ValueError: no dtype that a store holds, or the number of bytes does not fit dtype and shape.
        """
        dtype = numpy_dtype(self.dtype)
        if any(length is None or length < 0 for length in self.shape) or len(self.shape) > _MAX_AXES:
            raise ValueError(f"{self.shape!s:.80} is no shape")
        expected = math.prod(self.shape) * dtype.itemsize  # of Python's integers: no overflow
        size = data.nbytes if isinstance(data, np.ndarray | memoryview) else len(data)
        if size != expected:
            raise ValueError(f"a {self.dtype} tensor of shape {self.shape} has {expected} bytes, not {size}")
        return np.frombuffer(data, dtype=dtype).reshape(self.shape)

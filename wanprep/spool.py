"""Tensors that grow along their first axis while a clip streams by, in memory up to a limit and then on disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from schemas.tensor import Tensor

_MEMORY_LIMIT = 1 << 20  # bytes held before a spool moves to disk
_CHUNK = 4 << 20  # bytes read at a time


class ArraySpool:
    """Rows of one dtype and shape, appended in order; afterwards readable by slice or in chunks.

    It satisfies `schemas.tensor.TensorStream`, so a record may hold it where it says tensor.
    """

    def __init__(self, dtype: npt.DTypeLike, row_shape: tuple[int, ...], folder: Path) -> None:
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.row_shape = row_shape
        self._folder = folder
        self._row_bytes = int(np.prod(row_shape, dtype=np.int64)) * self.dtype.itemsize
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._rows = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return (self._rows, *self.row_shape)

    def __len__(self) -> int:
        return self._rows

    def append(self, rows: npt.ArrayLike) -> None:
        """Adds rows of shape [n, *row_shape], cast to the spool's dtype.

        Raises:
            ValueError: the rows have another shape.
        """
        array = np.ascontiguousarray(rows, dtype=self.dtype)
        if array.shape[1:] != self.row_shape:
            raise ValueError(f"rows of shape {array.shape[1:]} given to a spool of {self.row_shape}")
        self._memory += array.tobytes()
        self._rows += len(array)
        if len(self._memory) > _MEMORY_LIMIT:
            self._flush()

    def _flush(self) -> None:
        if self._file is None:
            # Unbuffered and already unlinked: nothing stays behind, whatever happens to the process.
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
        self._file.seek(0, os.SEEK_END)
        view = memoryview(self._memory)
        while view:
            view = view[self._file.write(view) :]
        self._memory = bytearray()

    def __getitem__(self, rows: slice) -> Tensor:
        start, stop, step = rows.indices(self._rows)
        if step != 1:
            raise ValueError("a spool is read forwards, row by row")
        stop = max(start, stop)
        if self._file is None:
            part = bytes(self._memory[start * self._row_bytes : stop * self._row_bytes])
        else:
            if self._memory:
                self._flush()
            part = self._read(start * self._row_bytes, (stop - start) * self._row_bytes)
        return np.frombuffer(part, dtype=self.dtype).reshape(stop - start, *self.row_shape)

    def _read(self, offset: int, nbytes: int) -> bytes:
        assert self._file is not None
        parts = []
        # One call gives 2 GiB at most.
        while nbytes and (part := os.pread(self._file.fileno(), nbytes, offset)):
            parts.append(part)
            offset += len(part)
            nbytes -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def __array__(self, dtype: npt.DTypeLike = None, copy: bool | None = None) -> Tensor:
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)

    def chunks(self) -> Iterator[Tensor]:
        step = max(1, _CHUNK // max(1, self._row_bytes))
        for start in range(0, self._rows, step):
            yield self[start : start + step]

    def tensor(self) -> Tensor:
        """This spool under the type that records declare; it is read in chunks when it is written."""
        return cast(Tensor, self)

    def close(self) -> None:
        self._memory = bytearray()
        if self._file is not None:
            self._file.close()
            self._file = None


class BlockSpool:
    """Byte blocks one after the other, and the offset of each, for the codecs of `schemas.blocks`."""

    def __init__(self, folder: Path) -> None:
        self._bytes = ArraySpool(np.uint8, (), folder)
        self._offsets = [0]

    def add(self, block: bytes) -> None:
        self._bytes.append(np.frombuffer(block, np.uint8))
        self._offsets.append(self._offsets[-1] + len(block))

    @property
    def blocks(self) -> Tensor:
        return self._bytes.tensor()

    @property
    def offsets_T(self) -> npt.NDArray[np.int64]:
        return np.array(self._offsets, dtype=np.int64)

    def close(self) -> None:
        self._bytes.close()

"""Writes one shard of a stage: large tensors stream into a safetensors file, rows into a Parquet file.

The tensors are committed first and the Parquet file last, so a Parquet file that is there refers to bytes
that are there. The safetensors header is written over reserved room when all offsets are known.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import pyarrow as pa
import xxhash

from schemas import Record
from schemas.tensor import SAFETENSORS_DTYPES, Tensor, TensorRef, TensorStream
from wanprep.errors import StoreError
from wanprep.store.fs import StoreFiles
from wanprep.store.layout import artifact_folder

INLINE_BYTES = 16 << 10  # a tensor up to this size lies in its row: one read less, and no alignment to waste
_HEADER_PER_TENSOR = (
    400  # bytes reserved a tensor, less its name twice: 2 entries of dtype, offsets, shape (8 axes)
)
_KEY_DIGITS = 32
_ALIGN = 64  # bytes; every tensor starts on a cache line, and so on any dtype's boundary


def artifact_schema(record: type[Record]) -> pa.Schema:
    """Columns of a stage's Parquet file: the key, the clip it was first made for, and the record's own."""
    own = [pa.field("key", pa.string(), nullable=False), pa.field("clip_id", pa.string(), nullable=False)]
    return pa.schema([*own, *record.SCHEMA])


class ShardWriter:
    """One stage's artifacts of one task. Use as a context manager; nothing is visible before `commit`."""

    def __init__(
        self,
        files: StoreFiles,
        stage: str,
        name: str,
        record: type[Record],
        *,
        rows: int,
        metadata: Mapping[str, str],
    ) -> None:
        self._files = files
        self._record = record
        self._metadata = {"wanprep.stage": stage, **metadata}
        self._folder = artifact_folder(stage)
        self._rows_file = f"{self._folder}/{name}.parquet"
        # Its own name each time: a task that is run again must not change bytes under rows that are there.
        self._tensor_file = f"{name}-{secrets.token_hex(4)}.safetensors"
        self._tensor_path = f"{self._folder}/{self._tensor_file}"
        self._schema = artifact_schema(record)
        self._rows: dict[str, pa.RecordBatch] = {}
        self._header: dict[str, Any] = {}
        room = sum(
            _HEADER_PER_TENSOR + 2 * (_KEY_DIGITS + len(name.encode())) for name in record.tensor_columns()
        )
        self._reserved = _round_up(8 + 64 + rows * room, _ALIGN)
        self._stack = contextlib.ExitStack()
        self._temporary: Path | None = None
        self._file: IO[bytes] | None = None
        self._position = self._reserved
        self.nbytes = 0  # bytes committed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_file()
        # Leaving without commit throws away the temporary file: the stack sees an error either way.
        abandoned = error or StoreError("not committed")
        with contextlib.suppress(StoreError, type(abandoned)):
            self._stack.__exit__(type(abandoned), abandoned, trace)

    @property
    def keys(self) -> list[str]:
        return list(self._rows)

    def add(self, key: str, clip_id: str, record: Record) -> None:
        """Adds one artifact. Tensor streams are copied in chunks.

        Raises:
            StoreError: the disk is full; the rows added before stay good.
            TypeError: the record does not fit its schema, or a tensor has a dtype that a store does not hold;
                the rows added before stay good.
        """
        row = record.to_row(lambda name, tensor: self._put(f"{key}.{name}", tensor))
        row.update(key=key, clip_id=clip_id)
        for column in self._schema:
            if row[column.name] is None and not column.nullable:
                raise TypeError(f"{type(record).__name__}.{column.name} is None, and its column may not be")
        try:
            self._rows[key] = pa.RecordBatch.from_pylist([row], schema=self._schema)
        except (pa.ArrowException, OverflowError) as error:
            raise TypeError(f"{type(record).__name__} does not fit its schema: {error}") from error

    def read(self, key: str) -> Record | None:
        """An artifact that was added, before it is committed; None when this shard has no such key."""
        batch = self._rows.get(key)
        return None if batch is None else self._record.from_row(batch.to_pylist()[0], self._read)

    def _read(self, ref: TensorRef) -> Tensor:
        if ref.data is not None:
            return ref.decode(ref.data)
        assert self._temporary is not None
        return ref.decode(
            np.memmap(self._temporary, np.uint8, "r", offset=ref.offset or 0, shape=(ref.nbytes,))
        )

    def _put(self, name: str, tensor: Tensor | TensorStream) -> TensorRef:
        dtype = str(tensor.dtype)
        if dtype not in SAFETENSORS_DTYPES:
            raise TypeError(f"tensor {name} is {dtype}; a store holds {', '.join(SAFETENSORS_DTYPES)}")
        shape = tuple(int(n) for n in tensor.shape)
        nbytes = int(np.prod(shape, dtype=np.int64)) * tensor.dtype.itemsize
        digest = xxhash.xxh3_128()
        if nbytes <= INLINE_BYTES:
            data = b"".join(chunk.tobytes() for chunk in _chunks(tensor))
            digest.update(data)
            return TensorRef(dtype=dtype, shape=shape, nbytes=nbytes, digest=digest.hexdigest(), data=data)
        file = self._open_file()
        offset = self._position
        try:
            for chunk in _chunks(tensor):
                view = chunk.view(np.uint8).data
                digest.update(view)
                _write_all(file, view)
            _write_all(file, memoryview(bytes(-nbytes % _ALIGN)))
        except OSError as error:
            file.seek(offset)
            raise StoreError(f"store {self._files.root}: {error.strerror or error}") from error
        self._position = offset + _round_up(nbytes, _ALIGN)
        self._header[name] = (dtype, shape, offset, nbytes)
        return TensorRef(
            dtype=dtype,
            shape=shape,
            nbytes=nbytes,
            digest=digest.hexdigest(),
            file=self._tensor_file,
            offset=offset,
        )

    def _open_file(self) -> IO[bytes]:
        if self._file is None:
            self._temporary = self._stack.enter_context(self._files.writing(self._tensor_path))
            self._file = self._temporary.open("wb", buffering=0)
            self._file.seek(self._reserved)
        return self._file

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def commit(self, without: Collection[str] = ()) -> str | None:
        """Makes the shard visible; returns its Parquet path in the store, or None when it has no rows.

        A task that is run again finds its shard there: equal keys are equal artifacts, so that one stays.

        Args:
            without: keys that are in another file by now; their rows are left out.

        Raises:
            StoreError: the disk is full or not writable; nothing is visible then.
        """
        for key in without:
            self._rows.pop(key, None)
        if not self._rows:
            return None
        if self._is_there():
            return self._rows_file
        if self._file is not None and self._temporary is not None:
            header = _safetensors_header(self._header, self._reserved, self._position)
            try:
                self._file.truncate(self._position)
                self._file.seek(0)
                _write_all(self._file, memoryview(header))
            except OSError as error:
                raise StoreError(f"store {self._files.root}: {error.strerror or error}") from error
            self._close_file()
            self.nbytes += self._position
            self._stack.close()
        if self._header and not self._files.remote and not self._files.exists(self._tensor_path):
            raise StoreError(
                f"store {self._files.root}: {self._tensor_path} was removed before its rows were written, "
                "as another job took this one for dead; run again"
            )
        table = pa.Table.from_batches(self._rows.values(), schema=self._schema).combine_chunks()
        table = table.replace_schema_metadata(self._metadata)
        self.nbytes += self._files.write_table(self._rows_file, table)
        return self._rows_file

    def _is_there(self) -> bool:
        if not self._files.exists(self._rows_file):
            return False
        present = self._files.read_table(self._rows_file, ["key"]).column("key").to_pylist()
        return set(present) >= self._rows.keys()


def _write_all(file: IO[bytes], data: memoryview) -> None:
    """One call writes 2 GiB at most, and less without an error when the disk fills up."""
    while data:
        data = data[file.write(data) :]


def _chunks(tensor: Tensor | TensorStream) -> Iterator[Tensor]:
    if isinstance(tensor, np.ndarray):
        yield np.ascontiguousarray(tensor).reshape(-1)
    else:
        for chunk in tensor.chunks():
            yield chunk.reshape(-1)


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def _safetensors_header(
    tensors: Mapping[str, tuple[str, tuple[int, ...], int, int]], room: int, end: int
) -> bytes:
    """The header that fills `room` bytes. The format allows no gaps between tensors, so alignment bytes are
    declared as tensors of their own."""
    header: dict[str, Any] = {}
    position = room
    for name, (dtype, shape, offset, nbytes) in tensors.items():
        header[name] = {
            "dtype": SAFETENSORS_DTYPES[dtype],
            "shape": list(shape),
            "data_offsets": [offset - room, offset - room + nbytes],
        }
        position = offset + nbytes
        if padding := -nbytes % _ALIGN:
            header[f"{name}.padding"] = {
                "dtype": "U8",
                "shape": [padding],
                "data_offsets": [position - room, position - room + padding],
            }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    if len(text) > room - 8:
        raise StoreError(f"the shard's header needs {len(text)} bytes and has room for {room - 8}")
    return struct.pack("<Q", room - 8) + text.ljust(room - 8)

"""A store's files, on a local disk or in a bucket, behind one set of verbs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.tensor import Tensor
from wanprep.errors import StoreError
from wanprep.media.source import is_remote, local_path
from wanprep.store.bucket import Bucket, scratch_file

_TEMPORARY = ".tmp-"
_JSON_BYTES = 64 << 20  # recipes and summaries of runs are kilobytes


def _host() -> str:
    return hashlib.blake2b(socket.gethostname().encode(), digest_size=4).hexdigest()


def _process() -> str:
    """Tells writers apart: two workers of a run may write the same file when one of them was given up too early."""
    return f"{_host()}.{os.getpid()}"


def _mark(temporary: str) -> str:
    return os.path.basename(temporary).removeprefix(_TEMPORARY).partition("-")[0]


class StoreFiles:
    """Files under one root. Paths are relative, with forward slashes. Writing is atomic: a file that is there
    is whole."""

    def __init__(self, root: str, run: str = "") -> None:
        self.remote = is_remote(root)
        self.run = run  # marks this writer's temporary files
        self._maps: dict[str, Tensor] = {}
        self._bucket = Bucket(root) if self.remote else None
        if self._bucket is not None:
            self._root = self._bucket.root
            self.root = root.rstrip("/")
        else:
            self._root = os.path.abspath(local_path(root))
            self.root = self._root

    def path(self, name: str) -> str:
        """Where a file is.

        Raises:
            StoreError: the name, or a link on the way, leads out of the store.
        """
        path = f"{self._root}/{name}"
        if "\0" in name or ".." in name.split("/"):
            raise StoreError(f"store {self.root}: {name!r} leads out of the store, so it is not followed")
        if not self.remote:
            # A store of someone else's must not have our files read or written through its links.
            real, root = os.path.realpath(path), os.path.realpath(self._root)
            if os.path.commonpath((real, root)) != root:
                raise StoreError(
                    f"store {self.root}: {name} is a link to {real}, out of the store; put the file itself there"
                )
        return path

    def exists(self, name: str) -> bool:
        path = self.path(name)
        return self._bucket.exists(path) if self._bucket is not None else os.path.exists(path)

    def size(self, name: str) -> int:
        path = self.path(name)
        return self._bucket.size(path) if self._bucket is not None else os.path.getsize(path)

    def names(self, folder: str, suffix: str = "") -> list[str]:
        """Relative paths of the finished files right in a folder, sorted; none when it is not there."""
        try:
            if self._bucket is not None:
                found = [name for name, _ in self._bucket.entries(self.path(folder))]
            else:
                found = os.listdir(self.path(folder))
        except FileNotFoundError:
            return []
        return sorted(
            f"{folder}/{name}" for name in found if name.endswith(suffix) and not name.startswith(_TEMPORARY)
        )

    def folders(self, folder: str) -> list[str]:
        """Names of the folders right in a folder, sorted."""
        try:
            if self._bucket is not None:
                return sorted(
                    name for name, is_folder in self._bucket.entries(self.path(folder)) if is_folder
                )
            return sorted(entry.name for entry in os.scandir(self.path(folder)) if entry.is_dir())
        except FileNotFoundError:
            return []

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A local temporary path to write; on leaving without an error it becomes `name`, whole or not at all.

        Raises:
            StoreError: the disk is full or the place is not writable.
        """
        try:
            if self._bucket is not None:
                with scratch_file() as scratch:
                    yield Path(scratch)
                    self._bucket.put(scratch, self.path(name))
                return
            target = Path(self.path(name))
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = str(target.parent / f"{_TEMPORARY}{self.run}@{_process()}-{target.name}")
            try:
                yield Path(temporary)
                self._publish(temporary, name)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
        except OSError as error:
            scratch = f" by way of {tempfile.gettempdir()}" if self.remote else ""
            raise StoreError(
                f"store {self.root}: {name} cannot be written{scratch} ({error.strerror or error})"
            ) from error

    def _publish(self, temporary: str, name: str) -> None:
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, self.path(name))
        folder = os.open(os.path.dirname(self.path(name)), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def write_bytes(self, name: str, data: bytes) -> None:
        with self.writing(name) as temporary:
            temporary.write_bytes(data)

    def write_table(self, name: str, table: pa.Table) -> int:
        """Writes Parquet; returns its bytes."""
        with self.writing(name) as temporary:
            # Many small row groups would bloat a table of thin rows; tensors are already compressed or raw.
            pq.write_table(table, temporary, compression="zstd", use_dictionary=False, row_group_size=65_536)
            return temporary.stat().st_size

    def read_json(self, name: str) -> Any:
        """A small JSON file's document.

        Raises:
            StoreError: it cannot be read, is no JSON, or is larger than any that a store writes.
        """
        try:
            if self.size(name) > _JSON_BYTES:
                raise ValueError(f"is larger than {_JSON_BYTES:,} bytes")
            return json.loads(self.read_bytes(name))
        except (OSError, ValueError, RecursionError) as error:
            raise StoreError(f"{self.root}/{name}: is not readable ({error})") from error

    def read_bytes(self, name: str) -> bytes:
        if self._bucket is not None:
            return self._bucket.read(self.path(name))
        return Path(self.path(name)).read_bytes()

    def read_table(
        self, name: str, columns: list[str] | None = None, *, optional: Sequence[str] = ()
    ) -> pa.Table:
        """A Parquet file's table.

        Args:
            columns: only these; None: all.
            optional: and these, where the file has them.

        Raises:
            StoreError: it cannot be read, or lacks one of `columns`.
        """
        try:
            with self._parquet(name, whole=columns is None) as file:
                table = file.read(columns=None if columns is None else [*columns, *optional])
        except (OSError, ValueError, pa.ArrowException) as error:
            raise StoreError(f"store {self.root}: {name} cannot be read ({error})") from error
        if absent := set(columns or ()) - set(table.column_names):
            raise StoreError(f"store {self.root}: {name} has no column '{min(absent)}'; see `wanprep verify`")
        return table

    @contextlib.contextmanager
    def _parquet(self, name: str, *, whole: bool) -> Iterator[pq.ParquetFile]:
        # ParquetFile spares the cost of a dataset scan.
        with contextlib.ExitStack() as stack:
            source: Any = self.path(name)
            if self._bucket is not None:
                # One request for all of it, or one for the end and one for the columns.
                source = (
                    pa.BufferReader(self._bucket.read(source))
                    if whole
                    else stack.enter_context(self._bucket.opened(source))
                )
            yield stack.enter_context(pq.ParquetFile(source, pre_buffer=self.remote))

    def read_metadata(self, name: str) -> dict[str, str]:
        """The key-value metadata of a Parquet file."""
        with self._parquet(name, whole=False) as file:
            metadata = file.schema_arrow.metadata or {}
        return {key.decode(): value.decode() for key, value in metadata.items()}

    def read_range(self, name: str, offset: int, nbytes: int) -> Tensor:
        """`nbytes` bytes from `offset` as uint8 [nbytes]: a memory map on a local disk, one ranged read elsewhere.

        Raises:
            ValueError: the file is shorter.
        """
        if offset < 0 or nbytes < 0:
            raise ValueError(f"{nbytes} bytes from {offset} are no part of a file")
        if self._bucket is not None:
            data = self._bucket.read_range(self.path(name), offset, nbytes)
            if len(data) < nbytes:
                raise ValueError(f"{nbytes} bytes from {offset} are beyond its end at {offset + len(data)}")
            return np.frombuffer(data, dtype=np.uint8)
        if (size := self.size(name)) < offset + nbytes:
            raise ValueError(f"{nbytes} bytes from {offset} are beyond its end at {size}")
        mapped = self._maps.get(name)
        if mapped is None or len(mapped) < offset + nbytes:
            mapped = self._maps[name] = np.memmap(self.path(name), dtype=np.uint8, mode="r")
        return mapped[offset : offset + nbytes]

    def forget(self) -> None:
        """Drops the memory maps, so that files that were replaced since are seen."""
        self._maps.clear()

    def remove(self, name: str) -> None:
        if self._bucket is not None:
            self._bucket.remove(self.path(name))
        else:
            os.unlink(self.path(name))

    def temporaries(self) -> list[str]:
        """Unfinished files of all writers, local stores only: in a bucket there are none."""
        if self.remote:
            return []
        return sorted(
            os.path.relpath(os.path.join(where, name), self._root)
            for where, _, names in os.walk(self._root)
            for name in names
            if name.startswith(_TEMPORARY)
        )

    def writer_of(self, temporary: str) -> str:
        """The run that made a temporary file."""
        return _mark(temporary).partition("@")[0]

    def process_of(self, temporary: str) -> int | None:
        """The process that made a temporary file, if it is one of this machine's."""
        host, _, pid = _mark(temporary).partition("@")[2].partition(".")
        return int(pid) if host == _host() and pid.isdecimal() else None

    def free_bytes(self) -> int | None:
        """Bytes left on the disk; None for a bucket."""
        if self.remote:
            return None
        place = Path(self._root)
        while not place.exists():
            place = place.parent
        return shutil.disk_usage(place).free

    def make(self) -> None:
        if not self.remote:
            try:
                os.makedirs(self._root, exist_ok=True)
            except OSError as error:
                raise StoreError(f"store {self.root}: cannot be created ({error.strerror})") from error

    def __reduce__(self) -> tuple[type[StoreFiles], tuple[str, str]]:
        # Workers open it anew: maps and connections do not travel, and a client would carry its credentials.
        return StoreFiles, (self.root, self.run)

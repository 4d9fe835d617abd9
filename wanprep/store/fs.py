"""A store's files, on a local disk or in a bucket, behind one set of verbs."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.tensor import Tensor
from wanprep.errors import StoreError
from wanprep.media.source import is_remote, local_path

_TEMPORARY = ".tmp-"


class StoreFiles:
    """Files under one root. Paths are relative, with forward slashes. Writing is atomic: a file that is there
    is whole."""

    def __init__(self, root: str, run: str = "") -> None:
        self.remote = is_remote(root)
        self.run = run  # marks this writer's temporary files
        self._maps: dict[str, Tensor] = {}
        if self.remote:
            import fsspec

            try:
                self._fs, self._root = fsspec.core.url_to_fs(root)
            except (ImportError, ValueError) as error:
                raise StoreError(f"store {root}: {error}; install the extra for its protocol") from error
            self.root = root.rstrip("/")
        else:
            self._root = os.path.abspath(local_path(root))
            self.root = self._root

    def path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def exists(self, name: str) -> bool:
        return bool(self._fs.exists(self.path(name))) if self.remote else os.path.exists(self.path(name))

    def size(self, name: str) -> int:
        return int(self._fs.size(self.path(name))) if self.remote else os.path.getsize(self.path(name))

    def names(self, folder: str, suffix: str = "") -> list[str]:
        """Relative paths of the finished files right in a folder, sorted; none when it is not there."""
        try:
            if self.remote:
                self._fs.invalidate_cache(self.path(folder))
                found = [str(p).rsplit("/", 1)[-1] for p in self._fs.ls(self.path(folder), detail=False)]
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
            if self.remote:
                self._fs.invalidate_cache(self.path(folder))
                entries = self._fs.ls(self.path(folder), detail=True)
                return sorted(
                    e["name"].rstrip("/").rsplit("/", 1)[-1] for e in entries if e["type"] == "directory"
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
            if self.remote:
                handle, temporary = tempfile.mkstemp(prefix="wanprep-")
                os.close(handle)
            else:
                target = Path(self.path(name))
                target.parent.mkdir(parents=True, exist_ok=True)
                temporary = str(target.parent / f"{_TEMPORARY}{self.run or os.getpid()}-{target.name}")
            try:
                yield Path(temporary)
                self._publish(temporary, name)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
        except OSError as error:
            raise StoreError(
                f"store {self.root}: {name} cannot be written ({error.strerror or error})"
            ) from error

    def _publish(self, temporary: str, name: str) -> None:
        if self.remote:
            self._fs.put_file(temporary, self.path(name))
            return
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

    def read_bytes(self, name: str) -> bytes:
        if self.remote:
            return bytes(self._fs.cat_file(self.path(name)))
        return Path(self.path(name)).read_bytes()

    def read_table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A Parquet file's table.

        Raises:
            StoreError: it cannot be read.
        """
        try:
            if self.remote:
                with self._fs.open(self.path(name), "rb") as file:
                    return pq.read_table(file, columns=columns)
            # One file: ParquetFile spares the cost of a dataset scan.
            with pq.ParquetFile(self.path(name)) as file:
                return file.read(columns=columns)
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"store {self.root}: {name} cannot be read ({error})") from error

    def read_metadata(self, name: str) -> dict[str, str]:
        """The key-value metadata of a Parquet file."""
        if self.remote:
            with self._fs.open(self.path(name), "rb") as file:
                schema = pq.read_schema(file)
        else:
            schema = pq.read_schema(self.path(name))
        return {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}

    def read_range(self, name: str, offset: int, nbytes: int) -> Tensor:
        """`nbytes` bytes from `offset` as uint8 [nbytes]: a memory map on a local disk, one ranged read elsewhere."""
        if self.remote:
            data = self._fs.cat_file(self.path(name), start=offset, end=offset + nbytes)
            return np.frombuffer(data, dtype=np.uint8)
        mapped = self._maps.get(name)
        if mapped is None or len(mapped) < offset + nbytes:
            mapped = self._maps[name] = np.memmap(self.path(name), dtype=np.uint8, mode="r")
        return mapped[offset : offset + nbytes]

    def forget(self) -> None:
        """Drops the memory maps, so that files that were replaced since are seen."""
        self._maps.clear()

    def remove(self, name: str) -> None:
        if self.remote:
            self._fs.rm_file(self.path(name))
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
        return os.path.basename(temporary).removeprefix(_TEMPORARY).partition("-")[0]

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

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}

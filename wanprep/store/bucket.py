"""Files in object storage, through fsspec. What goes wrong there is told in one line, without credentials."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa

from wanprep.errors import StoreError
from wanprep.remote import cause


class Bucket:
    """Objects by their full path. Every method raises FileNotFoundError when there is no such object, and
    StoreError when the server refuses, fails or is not there after the client's own retries."""

    def __init__(self, address: str) -> None:
        import fsspec

        self._address = address.rstrip("/")
        with self._asking("cannot be opened"):
            try:
                # Other writers commit while this one runs: a listing that is kept would hide what they made.
                self._fs, self.root = fsspec.core.url_to_fs(address, use_listings_cache=False)
            except (ImportError, ValueError) as error:
                raise StoreError(
                    f"store {self._address}: {error}; install the extra for its protocol"
                ) from error

    @contextlib.contextmanager
    def _asking(self, failing: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, StoreError, pa.ArrowException):
            raise
        except Exception as error:
            # The clients' errors have no base in common; the first line of each is enough for a person.
            raise StoreError(f"store {self._address}: {failing}: {cause(error)}") from error

    def exists(self, path: str) -> bool:
        with self._asking(f"{self._short(path)} cannot be looked for"):
            return bool(self._fs.exists(path))

    def size(self, path: str) -> int:
        with self._asking(f"{self._short(path)} cannot be looked at"):
            return int(self._fs.size(path))

    def entries(self, folder: str) -> list[tuple[str, bool]]:
        """Name and whether it is a folder, of what is right in a folder."""
        with self._asking(f"{self._short(folder)} cannot be listed"):
            found = self._fs.ls(folder, detail=True)
            return [
                (str(entry["name"]).rstrip("/").rsplit("/", 1)[-1], entry["type"] == "directory")
                for entry in found
            ]

    def put(self, local: str, path: str) -> None:
        """Writes an object, whole or not at all: one PUT, or parts that are joined at the end."""
        with self._asking(f"{self._short(path)} cannot be written"):
            try:
                self._fs.put_file(local, path)
            except FileNotFoundError as error:
                raise StoreError(
                    f"store {self._address}: {self._short(path)} cannot be written: the bucket {cause(error)}"
                ) from error

    def read(self, path: str) -> bytes:
        with self._asking(f"{self._short(path)} cannot be read"):
            return bytes(self._fs.cat_file(path))

    def read_range(self, path: str, offset: int, nbytes: int) -> bytes:
        """One ranged read; shorter than `nbytes` where the object ends before."""
        with self._asking(f"{self._short(path)} cannot be read"):
            return bytes(self._fs.cat_file(path, start=offset, end=offset + nbytes))

    @contextlib.contextmanager
    def opened(self, path: str) -> Iterator[IO[Any]]:
        """An object to read parts of: each read is one request, as large as what is asked for."""
        with (
            self._asking(f"{self._short(path)} cannot be read"),
            self._fs.open(path, "rb", cache_type="none") as file,
        ):
            yield file

    def remove(self, path: str) -> None:
        with self._asking(f"{self._short(path)} cannot be removed"):
            self._fs.rm_file(path)

    def _short(self, path: str) -> str:
        return path.removeprefix(f"{self.root}/")


@contextlib.contextmanager
def scratch_file() -> Iterator[str]:
    """The path of an empty local file that is gone afterwards, also when the process is killed.

    Raises:
        OSError: there is no room for it.
    """
    if os.path.isdir("/proc/self/fd"):
        # It has no name in any folder: the kernel frees it with the process.
        with tempfile.TemporaryFile(prefix="wanprep-") as unnamed:
            yield f"/proc/self/fd/{unnamed.fileno()}"
        return
    with tempfile.NamedTemporaryFile(prefix="wanprep-") as named:
        yield named.name

"""Tensor files whose rows a compaction has moved: kept for a while, for readers that hold the old rows."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from schemas.tensor import TENSOR
from wanprep.errors import StoreError
from wanprep.store import layout
from wanprep.store.fs import StoreFiles

RETIRED = "retired"


def retire(files: StoreFiles, number: int, tensors: Iterable[str], until_ns: int) -> None:
    """Notes that `tensors` are to stay until then. To be called before the rows that refer to them go, so that
    they are never there without rows and without this note."""
    about = {"until_ns": until_ns, "tensors": sorted(tensors)}
    files.write_bytes(f"{RETIRED}/{files.run}-{number}.json", json.dumps(about).encode())


def retired(files: StoreFiles) -> dict[str, int]:
    """Each retired tensor file, and until when it is kept, in ns since 1970."""
    found: dict[str, int] = {}
    for name in files.names(RETIRED, ".json"):
        until_ns, tensors = _read(files, name)
        for tensor in tensors:
            found[tensor] = max(until_ns, found.get(tensor, 0))
    return found


def remove_due(files: StoreFiles) -> int:
    """Removes the retired files whose time is over and to which no row refers; returns how many."""
    removed = 0
    for name in files.names(RETIRED, ".json"):
        until_ns, tensors = _read(files, name)
        if time.time_ns() < until_ns:
            continue
        # One that may not be removed, for want of rights, is left for the next time, and the note with it.
        with contextlib.suppress(OSError, StoreError):
            for tensor in tensors:
                # A compaction that was killed may have left the rows where they were.
                if not _is_referenced(files, tensor):
                    with contextlib.suppress(FileNotFoundError):
                        files.remove(tensor)
                        removed += 1
            files.remove(name)
    return removed


def tensor_files(table: pa.Table) -> set[str]:
    """Names of the safetensors files that a stage's rows refer to."""
    names: set[str] = set()
    for field in table.schema:
        if field.type == TENSOR:
            names |= set(pc.unique(pc.struct_field(table[field.name], "file")).to_pylist())
    return names - {None}


def _is_referenced(files: StoreFiles, tensor: str) -> bool:
    rows = layout.rows_file(tensor)
    try:
        return files.exists(rows) and tensor.rpartition("/")[2] in tensor_files(files.read_table(rows))
    except StoreError:
        return True  # what rows that cannot be read refer to is left for whoever mends them


def _read(files: StoreFiles, name: str) -> tuple[int, list[str]]:
    try:
        about = json.loads(files.read_bytes(name))
        return int(about["until_ns"]), [_tensor_name(tensor) for tensor in about["tensors"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StoreError):
        # Removed since it was listed, or not written by this software: nothing is kept or removed for it.
        return time.time_ns() + 10**18, []


def _tensor_name(name: str) -> str:
    """Raises ValueError for a file that is no stage's tensors, so that a note cannot have others removed."""
    folder, stage, file = name.split("/")
    if folder != layout.ARTIFACTS or not file.endswith(".safetensors"):
        raise ValueError(f"{name} is no tensor file")
    return f"{layout.artifact_folder(stage)}/{layout.checked(file)}"

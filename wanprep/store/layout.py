"""Names of a store's files. The public description is docs/store-format.md."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from wanprep.errors import StoreError

FORMAT_VERSION = 1

STORE_FILE = "store.json"
CLIPS, MEDIA, OUTCOMES, ARTIFACTS, RECIPES, RUNS = (
    "clips",
    "media",
    "outcomes",
    "artifacts",
    "recipes",
    "runs",
)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class UnsafeName(StoreError, ValueError):
    """A name from a store or a recipe that is no plain name, and so might lead out of the store."""


def shard_name(parts: Iterable[str]) -> str:
    """A file name derived from what is in the file, so that writing the same again overwrites itself."""
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        digest.update(part.encode() + b"\x1f")
    return f"part-{digest.hexdigest()}"


def rows_file(tensor_file: str) -> str:
    """The Parquet file whose rows refer to a tensor file: the same name less what tells attempts apart."""
    return tensor_file.removesuffix(".safetensors").rpartition("-")[0] + ".parquet"


def artifact_folder(stage: str) -> str:
    return f"{ARTIFACTS}/{checked(stage)}"


def checked(name: str) -> str:
    """`name` if it is safe as one path element.

    Raises:
        UnsafeName: it is not; names read from a store or a recipe never lead out of the store.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        short = name if len(name) <= 80 else f"{name[:77]}..."
        raise UnsafeName(
            f"{short!r} is not a plain name (letters, digits, '.', '_', '-'), so it is not followed"
        )
    return name

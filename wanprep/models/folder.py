"""What of a folder is the model, and whether it is all there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

INDEX = ".index.json"
_MAX_INDEX = 64 << 20  # bytes; the largest in use has some 100 kB
_MAX_FILES = 20_000
WEIGHTS = frozenset({".safetensors", ".pth", ".pt", ".ckpt", ".onnx", ".gguf"})
# Pickled twins of safetensors files: not opened when those are there, so not part of what the model is.
_TWINS = frozenset({".bin", ".pt", ".pth", ".ckpt"})
_NO_PART = frozenset(
    {".md", ".py", ".pkl", ".pickle", ".msgpack", ".h5", ".ot", ".lock", ".incomplete", ".part", ".tmp"}
    | {".png", ".jpg", ".jpeg", ".gif", ".webp", ".mp4", ".wav", ".mp3", ".pdf"}
)


def model_files(root: Path, parts: Sequence[str] = ()) -> list[str]:
    """Config and weight files below a folder, as sorted posix paths: what its digest covers.

    Hidden files, texts for people, pictures and unfinished downloads are left out, and so are pickled twins of
    safetensors files, which nothing here opens.

    Args:
        parts: sub-folders or files that matter; those that are there restrict the list.
    """
    if there := [part for part in parts if (root / part).exists()]:
        found: set[str] = set()
        for part in there:
            path = root / part
            below = [f"{part}/{name}" for name in model_files(path)] if path.is_dir() else [part]
            found.update(below)
        return sorted(found)
    files: list[str] = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        safe = any(name.endswith(".safetensors") for name in names)
        for name in names:
            suffix = PurePosixPath(name).suffix.lower()
            twin = safe and suffix in _TWINS and _is_twin(name)
            if name.startswith(".") or suffix in _NO_PART or twin or name.upper().startswith("LICENSE"):
                continue
            files.append(Path(folder, name).relative_to(root).as_posix())
        if len(files) > _MAX_FILES:
            break
    return sorted(files)


def _is_twin(name: str) -> bool:
    """By the names that transformers and diffusers save pickles under."""
    return name.startswith(("pytorch_model", "diffusion_pytorch_model", "model.", "model-"))


def incomplete(root: Path, parts: Sequence[str] = ()) -> str | None:
    """What a folder lacks to be a model, or None. Reads indices, no weights."""
    names = model_files(root, parts)
    if not names:
        return "holds no files of a model"
    for name in names:
        if name.endswith(INDEX):
            shards = shards_of(root / name)
            if isinstance(shards, str):
                return f"{name} {shards}"
            for shard in shards:
                if not (root / name).with_name(shard).is_file():
                    return f"{beside(name, shard)} is missing ({name} names it)"
    if any(PurePosixPath(name).suffix.lower() in WEIGHTS for name in names):
        return None
    if pickles := [name for name in names if name.endswith(".bin")]:
        return (
            f"has its weights in {pickles[0]} only, a pickle, which is not opened; save them as safetensors"
        )
    return "holds no weights (safetensors, pth or onnx)"


def first_absent(root: Path, files: Iterable[str]) -> str | None:
    """The first of a list of files that is not below a folder, shards that its indices name included."""
    for name in files:
        path = root / name
        if not path.is_file():
            return name
        if name.endswith(INDEX):
            shards = shards_of(path)
            if isinstance(shards, str):
                return name
            for shard in shards:
                if not path.with_name(shard).is_file():
                    return beside(name, shard)
    return None


def with_shards(root: Path, files: Iterable[str]) -> list[str]:
    """A list of files with the shards that its indices name, sorted."""
    found: set[str] = set()
    for name in files:
        found.add(name)
        if name.endswith(INDEX):
            shards = shards_of(root / name)
            if not isinstance(shards, str):
                found.update(beside(name, shard) for shard in shards)
    return sorted(found)


def beside(name: str, other: str) -> str:
    """The posix path of a file that lies beside another."""
    return PurePosixPath(name).with_name(other).as_posix()


def shards_of(index: Path) -> list[str] | str:
    """The files that an index names, sorted; a text says what is wrong with it.

    A name in an index is data: only a plain file name beside the index is taken.
    """
    try:
        if index.stat().st_size > _MAX_INDEX:
            return "is too large for an index"
        document = json.loads(index.read_bytes())
        shards = sorted({str(name) for name in document["weight_map"].values()})
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return "is no index of weights"
    for shard in shards:
        if not is_plain(shard):
            return f"names a file elsewhere: {shard[:80]!r}"
    return shards


def is_plain(name: str) -> bool:
    """A file name that leads nowhere else."""
    return 0 < len(name) <= 255 and not any(char in name for char in "/\\\0") and name not in (".", "..")

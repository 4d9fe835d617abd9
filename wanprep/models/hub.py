"""The Hugging Face cache on this machine, looked at without its library and without the network."""

from __future__ import annotations

import os
from pathlib import Path

from wanprep.models.registry import is_commit

DEFAULT_ENDPOINT = "https://huggingface.co"


def hub_cache() -> Path:
    """Where the hub's library keeps what it has fetched, by the same variables."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(os.path.expanduser(os.path.expandvars(cache)))
    home = os.environ.get("HF_HOME")
    if not home:
        home = os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface")
    return Path(os.path.expanduser(os.path.expandvars(home))) / "hub"


def endpoint() -> str:
    """The hub's address, `HF_ENDPOINT` or the public one."""
    return os.environ.get("HF_ENDPOINT", DEFAULT_ENDPOINT).rstrip("/")


def offline() -> bool:
    """Whether the user has told the hub's libraries to stay off the network."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in names)


def repository_folder(repository: str) -> Path:
    """The cache's folder of a repository (a checked `owner/name`)."""
    return hub_cache() / f"models--{repository.replace('/', '--')}"


def begun_mark(repository: str, commit: str) -> Path:
    """A file that is there while a repository's files at a commit are not all fetched."""
    return repository_folder(repository) / f".wanprep-begun-{commit}"


def commit_here(repository: str, revision: str) -> str | None:
    """The commit that a revision stands for, as the cache knows it."""
    if is_commit(revision):
        return revision
    try:
        text = (repository_folder(repository) / "refs" / revision).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return text if is_commit(text) else None


def snapshot(repository: str, revision: str) -> Path | None:
    """The cache's folder of a repository's files at a revision, complete or not."""
    commit = commit_here(repository, revision)
    folder = repository_folder(repository) / "snapshots" / commit if commit else None
    return folder if folder is not None and folder.is_dir() else None

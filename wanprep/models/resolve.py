"""From a model's name or path to files on this machine, and to the digest that enters keys."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from wanprep.errors import UsageError
from wanprep.hints import did_you_mean, size_text
from wanprep.models import hub
from wanprep.models.digest import files_digest
from wanprep.models.errors import ModelBroken, ModelMissing
from wanprep.models.folder import WEIGHTS, first_absent, incomplete, with_shards
from wanprep.models.registry import ModelEntry, entries, is_hub_id, is_model_name, is_revision

__all__ = [
    "LocalModel",
    "ModelMissing",
    "digest",
    "fetching",
    "find",
    "local_folder",
    "missing",
    "resolve",
]

_may_fetch: ContextVar[bool] = ContextVar("may_fetch", default=False)


@dataclass(frozen=True)
class LocalModel:
    """A model on this machine.

    `path` is its folder or its single weight file; `files` says which of the folder's are the model, where that
    is known, and `parts` which sub-folders or files the caller is after.
    """

    name: str
    path: Path
    files: tuple[str, ...] | None = None
    parts: tuple[str, ...] = ()

    def component(self, name: str) -> Path:
        """The folder of one component (`text_encoder`, `tokenizer`, `vae` ...): the sub-folder of this name, and
        the model's own folder where everything lies in one."""
        return self.path / name if (self.path / name).is_dir() else self.path

    def digest(self) -> str:
        """BLAKE2b-128 of its config and weight files, hex; contents are read once.

        Raises:
            ModelBroken: a file cannot be read.
        """
        try:
            return files_digest(self.path, self.files, self.parts)
        except OSError as error:
            raise ModelBroken(
                f"model '{self.name}': {error.filename or self.path} cannot be read ({error.strerror})"
            ) from error


def resolve(name_or_path: str, parts: Sequence[str] = ()) -> LocalModel:
    """The files of a model: of a folder or file, of a registered name (`umt5-xxl`) or of a hub id (`owner/name`,
    `owner/name@revision`).

    A name is looked for in the folder that `WANPREP_MODELS` names and in the Hugging Face cache. Nothing is
    downloaded, but for a run's workers (`fetching`), whose node may lack what the run was planned with.

    Args:
        parts: sub-folders or files of a folder that the caller reads; the digest then leaves out the others.

    Raises:
        ModelMissing: says which file is missing, where it was looked for, and what would bring it.
    """
    try:
        return find(name_or_path, parts)
    except ModelMissing:
        from wanprep.models.fetch import fetch, fetchable

        if not (_may_fetch.get() and fetchable(name_or_path)):
            raise
        fetch(name_or_path)
    return find(name_or_path, parts)


def missing(name_or_path: str, parts: Sequence[str] = ()) -> str | None:
    """What is missing of a model, with what would bring it, as one line; None when it is here. Reads no weights."""
    try:
        find(name_or_path, parts)
    except UsageError as error:
        return str(error)
    return None


def digest(name_or_path: str, parts: Sequence[str] = ()) -> str:
    """The digest of a model on this machine, hex. Never downloads.

    Raises:
        ModelMissing: it is not here.
        ModelBroken: a file cannot be read.
    """
    return find(name_or_path, parts).digest()


@contextlib.contextmanager
def fetching() -> Iterator[None]:
    """Has `resolve` fetch what this machine lacks while the block runs: for workers, on whatever node they are."""
    token = _may_fetch.set(True)
    try:
        yield
    finally:
        _may_fetch.reset(token)


def find(name_or_path: str, parts: Sequence[str] = ()) -> LocalModel:
    """`resolve` without any download."""
    if not name_or_path or "\0" in name_or_path:
        raise ModelMissing("a model's name is empty or holds a NUL character; see `wanprep models list`")
    if entry := entries().get(name_or_path):
        return _registered(entry, parts)
    repository, revision = split_hub_id(name_or_path)
    if not _is_path(name_or_path) and repository is not None:
        return _from_hub(name_or_path, repository, revision, parts)
    path = Path(os.path.expanduser(name_or_path))
    # os.path: pathlib raises for names that no file system takes.
    if os.path.isfile(path):
        return _file(name_or_path, path.absolute())
    if os.path.isdir(path):
        return _folder(name_or_path, path.absolute(), parts)
    looked: list[str] = []
    if is_model_name(name_or_path) and (own := _own_folder(name_or_path, looked)) is not None:
        return _place(name_or_path, own, parts)
    if _is_path(name_or_path) or os.sep in name_or_path:
        raise ModelMissing(f"model '{name_or_path[:200]}': there is no such folder or file")
    hint = did_you_mean(name_or_path, entries())
    raise ModelMissing(
        f"no model is called '{name_or_path}'{hint}; give a name of `wanprep models list`, a hub id, a folder or a file"
    )


def folder_of(name_or_path: str) -> Path | None:
    """Where a model's folder or file is, all of it or a part, for those who need only a part; None: nowhere."""
    if not name_or_path or "\0" in name_or_path:
        return None
    entry = entries().get(name_or_path)
    repository, revision = (entry.repository, entry.revision) if entry else split_hub_id(name_or_path)
    path = os.path.expanduser(name_or_path)
    if entry is None and os.path.exists(path):
        return Path(path).absolute()
    if (entry or repository or is_model_name(name_or_path)) and (own := _own_folder(name_or_path, [])):
        return own
    return hub.snapshot(repository, revision) if repository is not None else None


def local_folder(models: Path, name: str) -> Path | None:
    """`models`/`name` if that is there, and `name` is a plain name or hub id and so leads nowhere else."""
    repository, _ = split_hub_id(name)
    if repository is None and not is_model_name(name):
        return None
    folder = models / (repository or name)
    return folder if os.path.exists(folder) else None


def split_hub_id(text: str) -> tuple[str | None, str]:
    """`owner/name@revision` -> owner/name and revision (`main` by default); None when it is no hub id."""
    repository, at, revision = text.partition("@")
    revision = revision if at else "main"
    return (repository, revision) if is_hub_id(repository) and is_revision(revision) else (None, revision)


def _is_path(text: str) -> bool:
    """Meant as a path: written as one, or there."""
    path = Path(text)
    written = path.is_absolute() or text.startswith(("~", "./", "../")) or text in (".", "..")
    return written or os.path.exists(path)


def _file(name: str, path: Path) -> LocalModel:
    if path.suffix.lower() not in WEIGHTS:
        raise ModelMissing(f"model '{name}': {path} is no file of weights ({', '.join(sorted(WEIGHTS))})")
    return LocalModel(name, path)


def _folder(name: str, path: Path, parts: Sequence[str]) -> LocalModel:
    if lack := incomplete(path, parts):
        raise ModelMissing(f"model '{name}': the folder {path} {lack}")
    return LocalModel(name, path, parts=tuple(parts))


def _registered(entry: ModelEntry, parts: Sequence[str]) -> LocalModel:
    looked: list[str] = []
    if (own := _own_folder(entry.name, looked)) is not None:
        return _place(entry.name, own, parts)
    cached = hub.snapshot(entry.repository, entry.revision)
    absent: str | None = entry.files[0]
    if cached is not None:
        absent = first_absent(cached, entry.files)
        if absent is None:
            there = [name for name in entry.optional if (cached / name).is_file()]
            return LocalModel(entry.name, cached, tuple(with_shards(cached, [*entry.files, *there])))
    looked.append(_cache_text(entry.repository, entry.revision))
    raise ModelMissing(
        f"model '{entry.name}': {absent} is not on this machine; looked in {' and '.join(looked)}; "
        f"`wanprep models fetch {entry.name}` brings it ({size_text(entry.bytes)}), "
        f"or --models DIR with a folder DIR/{entry.name}"
    )


def _from_hub(name: str, repository: str, revision: str, parts: Sequence[str]) -> LocalModel:
    looked = [f"./{repository}"]
    if (own := _own_folder(name, looked)) is not None:
        return _place(name, own, parts)
    cached = hub.snapshot(repository, revision)
    looked.append(_cache_text(repository, revision))
    lack = "is not on this machine"
    if cached is not None:
        begun = hub.begun_mark(repository, cached.name).exists()
        found = "was not fetched to its end" if begun else incomplete(cached, parts)
        if found is None:
            return LocalModel(name, cached, parts=tuple(parts))
        lack = f"is here in part only: its snapshot {found}"
    raise ModelMissing(
        f"model '{name}' {lack}; looked in {' and '.join(looked)}; `wanprep models fetch {name}` brings it, "
        "or give a folder"
    )


def _own_folder(name: str, looked: list[str]) -> Path | None:
    """The user's folder of models, if it has this one."""
    models = os.environ.get("WANPREP_MODELS")
    if not models:
        return None
    folder = Path(os.path.expanduser(models)).absolute()
    looked.append(str(folder / name.partition("@")[0]))
    return local_folder(folder, name)


def _place(name: str, path: Path, parts: Sequence[str]) -> LocalModel:
    return _file(name, path) if path.is_file() else _folder(name, path, parts)


def _cache_text(repository: str, revision: str) -> str:
    return f"the Hugging Face cache ({hub.repository_folder(repository)}, revision {revision[:12]})"

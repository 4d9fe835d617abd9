"""Downloads models from the Hugging Face hub into its cache: once a machine, whoever asks."""

from __future__ import annotations

import errno
import importlib.util
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from wanprep.errors import UsageError, WanprepError
from wanprep.hints import size_text
from wanprep.models import hub
from wanprep.models.cache import locked
from wanprep.models.errors import ModelMissing
from wanprep.models.folder import INDEX, beside, shards_of, with_shards
from wanprep.models.progress import tell
from wanprep.models.registry import ModelEntry, entries, is_below
from wanprep.models.resolve import LocalModel, find, split_hub_id

_ATTEMPTS = 5  # at each file
_WAIT_SECONDS = 1.0  # before the second attempt; doubles
_ETAG_SECONDS = 30.0  # for the hub to say what a file is
# Of a repository whose files nobody has listed: configs, tokenizers, safe weights, at its root and in components.
_WANTED = (".json", ".safetensors", ".txt", ".model", ".jinja")


def fetchable(name: str) -> bool:
    """Whether `fetch` knows where to get it: a registered name or a hub id that is no path on this machine."""
    return name in entries() or (split_hub_id(name)[0] is not None and not os.path.exists(name))


def fetch(name: str) -> LocalModel:
    """Brings a registered model or a hub id's repository into the Hugging Face cache; quick when it is there.

    A connection that breaks goes on where it broke; a fetch that was ended keeps the files that were finished.
    One process of a machine fetches a repository, others wait for it. Progress goes to `progress.heard_by`.

    Raises:
        UsageError: huggingface_hub is missing, offline, or too little disk.
        ModelMissing: not a name to fetch, or the hub does not have it or give it out; says which file.
        WanprepError: the download broke down.
    """
    entry = entries().get(name)
    repository, revision = (entry.repository, entry.revision) if entry else split_hub_id(name)
    try:
        return find(name)
    except ModelMissing:
        if repository is None:
            raise
    if importlib.util.find_spec("huggingface_hub") is None:
        raise UsageError(
            f"model '{name}' cannot be fetched: needs huggingface_hub: pip install 'wanprep[models]'"
        )
    if hub.offline():
        raise UsageError(
            f"{find_text(name)}; it cannot be fetched while HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set: unset it, "
            "or copy the model here and name its folder"
        )
    if entry is not None:
        _check_space(name, entry.bytes - _bytes_here(entry))
    waiting = f"waiting for another process that fetches {name}"
    with locked(f"fetch {hub.hub_cache()} {repository}", on_wait=lambda: tell(waiting, 0, 1)):
        with suppress(ModelMissing):
            return find(name)
        _Download(name, repository, revision, entry).run()
    return find(name)


def find_text(name: str) -> str:
    """What is missing of a model, without what would bring it."""
    try:
        find(name)
    except ModelMissing as error:
        return str(error).partition("; `wanprep models fetch")[0]
    return "it is here"


def _check_space(name: str, nbytes: int) -> None:
    folder = hub.hub_cache()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < nbytes:
        raise UsageError(
            f"model '{name}' needs {size_text(nbytes)}, {size_text(free)} are free at {folder}; "
            "set HF_HOME to a folder on a larger disk"
        )


def _bytes_here(entry: ModelEntry) -> int:
    """Of files that an earlier fetch has finished."""
    folder = hub.snapshot(entry.repository, entry.revision)
    if folder is None:
        return 0
    files = with_shards(folder, [*entry.files, *entry.optional])
    return sum((folder / name).stat().st_size for name in files if (folder / name).is_file())


class _Download:
    """One repository's files, at one commit."""

    def __init__(self, name: str, repository: str, revision: str, entry: ModelEntry | None) -> None:
        self._name = name
        self._repository = repository
        self._revision = revision
        self._entry = entry
        self._done = _bytes_here(entry) if entry else 0
        self._total = entry.bytes if entry else 0

    def run(self) -> None:
        # Read when the library is imported: a fetch asks for the model, and for nothing else.
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        importlib.import_module("huggingface_hub.utils.logging")  # which sets the level of its own
        logger = logging.getLogger("huggingface_hub")
        level = logger.level
        logger.setLevel(logging.ERROR)  # what is tried again is no news
        try:
            self._run()
        finally:
            logger.setLevel(level)

    def _run(self) -> None:
        tell(f"fetching {self._name}", self._done, max(self._total, self._done, 1))
        commit, listed = self._commit()
        if self._entry is not None:
            self._files(self._entry.files, commit)
            self._files(self._entry.optional, commit, optional=True)
        else:
            self._total = sum(listed.values())
            # Nothing else tells a part of a repository from the whole.
            begun = hub.begun_mark(self._repository, commit)
            begun.parent.mkdir(parents=True, exist_ok=True)
            begun.touch()
            self._files(sorted(listed), commit)
            begun.unlink(missing_ok=True)
        if commit != self._revision:
            self._remember(commit)
        tell(f"fetching {self._name}", max(self._total, 1), max(self._total, 1))

    def _commit(self) -> tuple[str, dict[str, int]]:
        """The commit that all files are taken of, and the files to take where none are listed, with their sizes."""
        if self._entry is not None and self._entry.pinned:
            return self._revision, {}
        from huggingface_hub import HfApi

        api = HfApi(endpoint=hub.endpoint())
        sizes = self._entry is None
        info = self._attempt(
            "its file list",
            lambda: api.model_info(
                self._repository, revision=self._revision, files_metadata=sizes, timeout=_ETAG_SECONDS
            ),
        )
        files = {item.rfilename: item.size or 0 for item in info.siblings or ()} if sizes else {}
        return str(info.sha), _wanted(files)

    def _files(self, names: Iterable[str], commit: str, *, optional: bool = False) -> None:
        for name in names:
            path = self._attempt(name, lambda name=name: self._one(name, commit), optional=optional)  # type: ignore[misc]
            if path is not None and name.endswith(INDEX) and self._entry is not None:
                shards = shards_of(Path(path))
                if isinstance(shards, str):
                    raise WanprepError(f"model '{self._name}': {name} of {self._repository} {shards}")
                self._files([beside(name, shard) for shard in shards], commit)

    def _one(self, name: str, commit: str) -> str:
        from huggingface_hub import hf_hub_download

        return hf_hub_download(
            self._repository,
            name,
            revision=commit,
            cache_dir=hub.hub_cache(),
            endpoint=hub.endpoint(),
            etag_timeout=_ETAG_SECONDS,
            tqdm_class=_bar_of(self),
        )

    def _remember(self, commit: str) -> None:
        """What the branch stood for, where the hub's library keeps it; last, so that it names whole snapshots."""
        path = hub.repository_folder(self._repository) / "refs" / self._revision
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(commit, encoding="ascii")
        os.replace(temporary, path)

    def add(self, nbytes: int) -> None:
        self._done += nbytes
        tell(f"fetching {self._name}", self._done, max(self._total, self._done, 1))

    def _attempt(self, what: str, call: Callable[[], Any], *, optional: bool = False) -> Any:
        """`call()`, tried again after trouble that may pass; None for an optional file that is not there."""
        from huggingface_hub import errors

        wait = _WAIT_SECONDS
        last: Exception | None = None
        for attempt in range(1, _ATTEMPTS + 1):
            before = self._done
            try:
                return call()
            except errors.LocalEntryNotFoundError as error:
                # Its library has been patient already.
                raise WanprepError(
                    f"model '{self._name}': {what} cannot be fetched from {hub.endpoint()}/{self._repository}, which "
                    "does not answer; the same command goes on from here once it does, or give --models DIR with a "
                    f"folder DIR/{self._name}"
                ) from error
            except errors.EntryNotFoundError as error:
                if optional:
                    return None
                raise self._absent(f"has no {what}") from error
            except errors.GatedRepoError as error:
                raise self._absent(
                    "is given out to those who accepted its terms: accept them on its page, then `hf auth login`"
                ) from error
            except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
                raise self._absent("is not there, or not public") from error
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
                    raise UsageError(
                        f"model '{self._name}' cannot be written to {hub.hub_cache()} ({error.strerror}); "
                        "set HF_HOME to another folder"
                    ) from error
                last = error
                status = getattr(getattr(error, "response", None), "status_code", 0)
                if 400 <= status < 500 and status not in (408, 429):
                    break  # an answer, not trouble
            except Exception as error:
                if not _is_network_trouble(error):
                    raise
                last = error
            self._done = before
            if attempt < _ATTEMPTS:
                time.sleep(wait)
                wait *= 2
        raise WanprepError(
            f"model '{self._name}': {what} cannot be fetched from {hub.endpoint()}/{self._repository} "
            f"({_line(last) if last else 'no answer'}); the same command goes on from here"
        ) from last

    def _absent(self, why: str) -> ModelMissing:
        return ModelMissing(
            f"model '{self._name}': {hub.endpoint()}/{self._repository} at revision {self._revision[:12]} {why}"
        )


def _is_network_trouble(error: Exception) -> bool:
    """The hub's library has its errors from whichever HTTP library it was built on."""
    modules = {cls.__module__.partition(".")[0] for cls in type(error).__mro__}
    return bool(modules & {"httpx", "httpx2", "httpcore", "requests", "urllib3", "huggingface_hub"})


def _wanted(files: dict[str, int]) -> dict[str, int]:
    """The part of a repository that can be a model here: no pickles, no pictures, no code."""
    kept = {
        name: size
        for name, size in files.items()
        if name.endswith(_WANTED) and is_below(name) and not os.path.basename(name).startswith(".")
    }
    return {name: size for name, size in kept.items() if name.count("/") <= 1}


def _bar_of(download: _Download) -> Any:
    """What stands in for tqdm in the hub's library: adds up the bytes of files, draws nothing."""

    class Bytes:
        n = 0
        total = 0

        def __init__(self, *arguments: Any, initial: int = 0, **options: Any) -> None:
            download.add(initial)

        def update(self, count: float | None = 1) -> None:
            download.add(int(count or 0))

        def update_transfer(self, count: float | None = 1) -> None:
            """Bytes off the network, which are counted once more when they are written."""

        def __enter__(self) -> Bytes:
            return self

        def __exit__(self, *error: object) -> None:
            return None

        def __getattr__(self, name: str) -> Callable[..., None]:
            if name.startswith("_"):
                raise AttributeError(name)
            return lambda *arguments, **options: None

    return Bytes


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__

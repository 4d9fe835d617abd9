"""Complete tiny checkpoints in the layouts of the real ones, for trying a whole chain without a download."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wanprep import registry
from wanprep.errors import UsageError
from wanprep.hints import did_you_mean
from wanprep.models.folder import model_files
from wanprep.models.registry import is_model_name

MARK = ".wanprep-tiny.json"  # hidden, so no part of the model's digest


@dataclass(frozen=True)
class TinyModel:
    """One checkpoint made: `path` is its folder, `nbytes` the size of its files."""

    name: str
    path: Path
    nbytes: int


def makers() -> list[str]:
    """Names of the models that a tiny checkpoint can be made of: entry points of the group `wanprep.tiny`, each a
    function(folder: Path, seed: int) that writes a complete checkpoint."""
    return registry.names(registry.TINY)


def make_tiny(folder: Path, names: Iterable[str] = (), *, seed: int = 0) -> Iterator[TinyModel]:
    """Makes `folder`/name for each model; the same seed makes the same bytes.

    A tiny checkpoint that is there is replaced; any other folder is left alone.

    Args:
        names: models to make; none: all.

    Raises:
        UsageError: no maker of this name, what it needs is not installed, or something else is in the way.
    """
    wanted = list(dict.fromkeys(names)) or makers()
    for name in wanted:
        if name not in makers():
            known = ", ".join(makers()) or "none is installed"
            raise UsageError(
                f"no tiny checkpoint is made of '{name}'{did_you_mean(name, makers())} (there are: {known})"
            )
        _check_free(folder / name)
    loaded = {name: _maker(name) for name in wanted}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made ({error.strerror})") from error
    for name, maker in loaded.items():
        yield _make(folder / name, name, maker, seed)


def is_tiny(folder: Path) -> bool:
    return (folder / MARK).is_file()


def _maker(name: str) -> Callable[[Path, int], None]:
    if not is_model_name(name):
        raise UsageError(f"tiny checkpoint '{name}': a model's name is of letters, digits, dots and dashes")
    return registry.tiny_maker(name)


def _check_free(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not is_tiny(target)):
        raise UsageError(
            f"{target} is there and was not made by `wanprep models tiny`: it is left alone; give another folder"
        )


def _make(target: Path, name: str, maker: Callable[[Path, int], None], seed: int) -> TinyModel:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as temporary:
        made = Path(temporary) / name
        made.mkdir()
        try:
            maker(made, seed)
        except ImportError as error:
            raise UsageError(
                f"tiny checkpoint {name}: needs {error.name or error}: pip install 'wanprep[models]'"
            ) from error
        if not model_files(made):
            raise UsageError(f"tiny checkpoint {name}: its maker wrote no files")
        (made / MARK).write_text(json.dumps({"model": name, "seed": seed}) + "\n", encoding="ascii")
        if target.exists():
            shutil.rmtree(target)
        os.replace(made, target)
    return TinyModel(name, target, sum((target / file).stat().st_size for file in model_files(target)))

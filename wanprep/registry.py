"""Finds stages and engines by entry point, ours and a plug-in's alike."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from wanprep.errors import UsageError
from wanprep.hints import did_you_mean
from wanprep.stage import Stage

if TYPE_CHECKING:
    from wanprep.export.exporter import Exporter
    from wanprep.export.importer import Import

STAGES, ENGINES, TINY = "wanprep.stages", "wanprep.engines", "wanprep.tiny"
EXPORTERS, IMPORTERS = "wanprep.exporters", "wanprep.importers"


@functools.cache
def _entries(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def names(group: str) -> list[str]:
    return sorted(_entries(group))


def _load(group: str, what: str, name: str) -> Any:
    entry = _entries(group).get(name)
    if entry is None:
        known = ", ".join(names(group))
        raise UsageError(
            f"no {what} is called '{name}'{did_you_mean(name, names(group))} (there are: {known})"
        )
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{what} '{name}' cannot be imported from {entry.value}: {error}") from error


def stage_class(name: str) -> type[Stage[Any]]:
    """The stage class of this name.

    Raises:
        UsageError: there is none, or its module does not import.
    """
    loaded = _load(STAGES, "stage", name)
    if not (isinstance(loaded, type) and issubclass(loaded, Stage) and loaded.name == name):
        raise UsageError(f"stage '{name}': the entry point does not name a Stage class called '{name}'")
    return loaded


def engine(name: str) -> Callable[..., None]:
    """The engine function of this name; see `wanprep.engine.job`."""
    return cast(Callable[..., None], _load(ENGINES, "engine", name))


def tiny_maker(name: str) -> Callable[[Path, int], None]:
    """The function that writes a model's tiny checkpoint into a folder, given a seed; see `wanprep.models.tiny`."""
    return cast(Callable[[Path, int], None], _load(TINY, "tiny checkpoint", name))


def exporter(name: str) -> type[Exporter[Any]]:
    """The exporter class of this name; see `wanprep.export.exporter`.

    Raises:
        UsageError: there is none, or its module does not import.
    """
    return cast("type[Exporter[Any]]", _load(EXPORTERS, "exporter", name))


def importer(name: str) -> Import:
    """The function that reads a clip's folder of this kind; see `wanprep.export.importer`.

    Raises:
        UsageError: there is none, or its module does not import.
    """
    return cast("Import", _load(IMPORTERS, "importer", name))

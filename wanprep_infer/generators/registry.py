"""Finds generators, and engines that run jobs of them, by entry point."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from wanprep.errors import UsageError
from wanprep.hints import did_you_mean
from wanprep_infer.generators.protocol import Generator

GENERATORS, ENGINES = "wanprep_infer.generators", "wanprep_infer.engines"


@functools.cache
def _entries(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def engines() -> list[str]:
    """The names of the engines that are installed."""
    return sorted(_entries(ENGINES))


def generator(name: str) -> Generator:
    """The kind of generation of this name.

    Raises:
        UsageError: there is none, or its module does not import.
    """
    return cast(Generator, _load(GENERATORS, "generator", name)())


def engine(name: str) -> Callable[..., None]:
    """The engine function of this name; see `wanprep_infer.jobs.job.Engine`.

    Raises:
        UsageError: there is none, or its module does not import.
    """
    return cast(Callable[..., None], _load(ENGINES, "engine", name))


def _load(group: str, what: str, name: str) -> Any:
    known = _entries(group)
    if name not in known:
        listed = ", ".join(sorted(known))
        raise UsageError(f"no {what} is called '{name}'{did_you_mean(name, known)} (there are: {listed})")
    try:
        return known[name].load()
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"{what} '{name}' cannot be imported from {known[name].value}: {error}; see docs/install.md"
        ) from error

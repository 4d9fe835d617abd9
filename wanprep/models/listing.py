"""The registered checkpoints and which of them are on this machine."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from wanprep.errors import UsageError
from wanprep.hints import size_text
from wanprep.models import hub
from wanprep.models.digest import known_digest
from wanprep.models.errors import ModelMissing
from wanprep.models.registry import ModelEntry, entries
from wanprep.models.resolve import LocalModel, find, local_folder
from wanprep.models.tiny import is_tiny
from wanprep.terminal import console, shown

_LOG_COLUMNS = 1000  # paths stay whole, however long


@dataclass(frozen=True)
class Line:
    """One checkpoint. `path` and `digest` are None where it is not here or was never digested."""

    name: str
    about: str
    repository: str
    revision: str
    pinned: bool
    commit: str | None  # that the revision stands for, as far as this machine knows
    licence: str
    layout: str
    components: dict[str, str]
    bytes: int
    path: str | None
    tiny: bool
    digest: str | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def listing(models: Path | None = None) -> list[Line]:
    """All registered checkpoints; those in the folder `models`, if one is given, before others of this machine.

    Raises:
        UsageError: there is no such folder.
    """
    if models is not None and not models.is_dir():
        raise UsageError(f"--models {models}: there is no such folder")
    return [_line(entry, models) for entry in entries().values()]


def _line(entry: ModelEntry, models: Path | None) -> Line:
    own = local_folder(models, entry.name) if models is not None else None
    model: LocalModel | None = None
    with contextlib.suppress(ModelMissing):
        model = find(str(own.absolute()) if own is not None else entry.name)
    return Line(
        name=entry.name,
        about=entry.about,
        repository=entry.repository,
        revision=entry.revision,
        pinned=entry.pinned,
        commit=hub.commit_here(entry.repository, entry.revision),
        licence=entry.licence,
        layout=entry.layout,
        components=entry.components,
        bytes=entry.bytes,
        path=str(model.path) if model is not None else None,
        tiny=model is not None and is_tiny(model.path),
        digest=known_digest(model.path, model.files) if model is not None else None,
    )


def print_listing(lines: list[Line]) -> None:
    """A table, and where each that is here lies."""
    out = console(_LOG_COLUMNS)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("model", "size", "licence", "repository", "revision", "here"):
        table.add_column(title, justify="right" if title == "size" else "left", overflow="fold")
    for line in lines:
        revision = line.revision[:12] if line.pinned else f"{line.revision}, not pinned"
        if not line.pinned and line.commit:
            revision += f" (here: {line.commit[:12]})"
        where = "-" if line.path is None else ("tiny, " if line.tiny else "") + line.path
        digest = f" [dim]{line.digest[:12]}[/]" if line.digest else ""
        table.add_row(
            line.name,
            size_text(line.bytes),
            line.licence,
            line.repository,
            revision,
            shown(where) + digest,
        )
    out.print(table)
    out.print("`wanprep models fetch NAME` brings one here; what each is for: docs/models.md")

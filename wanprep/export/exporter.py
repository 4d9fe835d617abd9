"""What an exporter is: it writes one clip into a folder that is given to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from wanprep.errors import WanprepError
from wanprep.store.clip import StoredClip
from wanprep.store.store import Store

Chosen = TypeVar("Chosen", bound="ExportOptions")


class NotExportable(WanprepError):
    """The clip lacks something that this form needs; the message says what."""


class ExportOptions(BaseModel):
    """Base of an exporter's options; `wanprep export --set field=value` sets them."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Written:
    """What an exporter did for a clip: `frames` of video, and facts for the manifest, as plain JSON values."""

    frames: int
    facts: dict[str, Any] = field(default_factory=dict)


class Exporter(Generic[Chosen]):
    """Base of exporters, which come in by the entry point group `wanprep.exporters`.

    A clip's folder appears whole or not at all, with `manifest.json` in it: `wanprep.export.export` sees to that.
    """

    name: ClassVar[str]
    version: ClassVar[int] = (
        1  # raise it when the files' content changes: folders of older ones are made again
    )
    Options: ClassVar[type[ExportOptions]] = ExportOptions

    def __init__(self, options: Chosen) -> None:
        self.options: Chosen = options

    def write(self, store: Store, clip: StoredClip, folder: Path, shown: Callable[[int], None]) -> Written:
        """Writes the clip's files into `folder`, which is empty; calls `shown` with frames as they are done.

        Raises:
            NotExportable, StoreError, MediaError: why the clip cannot be written; the others go on.
        """
        raise TypeError(f"exporter {self.name} does not override write")

"""Puts the models of a recipe's stages where they are on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from wanprep.errors import UsageError
from wanprep.models.field import model_fields
from wanprep.models.registry import entries
from wanprep.models.resolve import local_folder

C = TypeVar("C", bound=BaseModel)


class ModelPlaces:
    """Where the models that stages name are to be looked for first.

    Args:
        models: the folder of `--models`; None takes that of `WANPREP_MODELS`, if it is set.

    Raises:
        UsageError: there is no such folder.
    """

    def __init__(self, models: str | os.PathLike[str] | None = None) -> None:
        name = os.environ.get("WANPREP_MODELS") or None if models is None else models
        # Absolute: a worker's process may have another working folder.
        self._folder = Path(os.path.expanduser(name)).absolute() if name is not None else None
        if self._folder is not None and not self._folder.is_dir():
            option = "WANPREP_MODELS" if models is None else "--models"
            raise UsageError(
                f"{option} {name}: there is no such folder; `wanprep models tiny {name}` makes one"
            )

    def placed(self, config: C) -> C:
        """The config with each model's name replaced by its folder here, and paths by absolute ones."""
        found: dict[str, object] = {}
        for field in type(config).model_fields:
            value = getattr(config, field)
            if isinstance(value, BaseModel):
                below = self.placed(value)
                if below is not value:
                    found[field] = below
        for field in model_fields(type(config)):
            value = getattr(config, field)
            if isinstance(value, str) and (place := self._place(value)) is not None:
                found[field] = str(place)
        return config.model_copy(update=found) if found else config

    def _place(self, name: str) -> Path | None:
        if not name or "\0" in name:
            return None
        if self._folder is not None and (folder := local_folder(self._folder, name)) is not None:
            return folder
        path = Path(os.path.expanduser(name))
        return path.absolute() if name not in entries() and os.path.exists(path) else None

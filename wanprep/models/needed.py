"""Fetches what a recipe's stages lack, before anything is planned."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from wanprep.errors import UsageError
from wanprep.models.fetch import fetch, fetchable
from wanprep.models.field import model_names
from wanprep.models.resolve import missing
from wanprep.stage import Stage


def fetch_needed(stages: Iterable[Stage[Any]], models: str | os.PathLike[str] | None = None) -> None:
    """Downloads each model for whose lack alone a stage cannot run here.

    Args:
        models: the user's folder of models; with one, nothing is downloaded.

    Raises:
        UsageError: a model is not in the user's folder, or cannot be fetched.
        WanprepError: the download broke down.
    """
    for stage in stages:
        for _ in model_names(stage.config):
            name = lacking(stage)
            if name is None:
                break
            if models is not None:
                raise UsageError(
                    f"stages.{stage.name}: --models {os.fspath(models)} has no folder '{name}', and {missing(name)}"
                )
            fetch(name)


def lacking(stage: Stage[Any]) -> str | None:
    """The model that a stage cannot run without, is not here, and could be fetched; None when there is none."""
    problem = stage.unavailable()
    if problem is None:
        return None
    for name in model_names(stage.config):
        # A stage says so in the words of `missing`; anything else, a missing package say, no download mends.
        lack = missing(name) if fetchable(name) else None
        if lack is not None and lack in problem:
            return name
    return None

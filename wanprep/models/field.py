"""The config field that names a model."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


def model_field(default: str, description: str) -> Any:
    """A pydantic field for a model's name or path (str).

    It is not in the key: the model's digest is, through `Stage.models()`, so that a model that moves keeps its
    artifacts. `--models DIR` replaces the value by DIR/<name> where that is there.
    """
    return Field(
        default=default,
        min_length=1,
        description=f"{description} A name of `wanprep models list`, a hub id, a folder or a file.",
        json_schema_extra={"key": False, "model": True},
    )


def model_names(config: BaseModel) -> list[str]:
    """What a config's model fields hold, those of the configs in it included."""
    names = [str(getattr(config, field)) for field in model_fields(type(config))]
    for field in type(config).model_fields:
        value = getattr(config, field)
        if isinstance(value, BaseModel):
            names.extend(model_names(value))
    return names


def model_fields(config: type[BaseModel]) -> list[str]:
    """Names of the fields of a config that were made by `model_field`."""
    return [
        name
        for name, info in config.model_fields.items()
        if isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("model") is True
    ]

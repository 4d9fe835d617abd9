"""The checkpoints that are known by name, read from `models.yaml`."""

from __future__ import annotations

import functools
import re
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from wanprep import safe_yaml

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"(?=.{3,96}$)[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][\w.-]{0,127}")


class ModelEntry(BaseModel):
    """One checkpoint: where it comes from and which of its files are the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    about: str
    repository: str = Field(description="owner/name on the Hugging Face hub")
    revision: str = Field(description="commit, or a branch where no commit is known")
    licence: str
    layout: Literal["transformers", "diffusers", "official", "onnx"]
    components: dict[str, str] = Field(description="role -> folder or file below the root")
    bytes: int = Field(gt=0, description="of all files together, rounded")
    files: tuple[str, ...] = Field(min_length=1)
    optional: tuple[str, ...] = ()

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which never changes."""
        return _COMMIT.fullmatch(self.revision) is not None

    @field_validator("repository")
    @classmethod
    def _repository(cls, value: str) -> str:
        if not is_hub_id(value):
            raise ValueError("a repository is owner/name")
        return value

    @field_validator("revision")
    @classmethod
    def _revision(cls, value: str) -> str:
        if not is_revision(value):
            raise ValueError("a revision is a commit, branch or tag")
        return value

    @field_validator("files", "optional")
    @classmethod
    def _files(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if bad := [name for name in value if not is_below(name)]:
            raise ValueError(f"a file is named by its path below the root, not {bad[0]!r}")
        return value


@functools.cache
def entries() -> dict[str, ModelEntry]:
    """All registered models, by name, in the file's order."""
    text = (files("wanprep.models") / "models.yaml").read_text(encoding="utf-8")
    return {name: ModelEntry(name=name, **fields) for name, fields in safe_yaml.load(text).items()}


def is_hub_id(text: str) -> bool:
    """`owner/name` as the hub allows it; never a path that leads elsewhere."""
    return _HUB_ID.fullmatch(text) is not None and ".." not in text and "--" not in text


def is_model_name(text: str) -> bool:
    """A name as registered models and their folders have it; never a path."""
    return _NAME.fullmatch(text) is not None and ".." not in text


def is_revision(text: str) -> bool:
    return _REVISION.fullmatch(text) is not None and ".." not in text


def is_commit(text: str) -> bool:
    return _COMMIT.fullmatch(text) is not None


def is_below(name: str) -> bool:
    """A relative posix path that stays below its root."""
    path = PurePosixPath(name)
    clean = bool(path.parts) and "\\" not in name and "\0" not in name and name == path.as_posix()
    return clean and not path.is_absolute() and ".." not in path.parts and "." not in path.parts

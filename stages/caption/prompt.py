"""What a model is asked: a prompt template of ours by its name, or a text file of the user's."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wanprep.hints import did_you_mean
from wanprep.key import text_digest

Language: TypeAlias = Literal["en", "zh"]
Medium: TypeAlias = Literal["video", "reference"]

LANGUAGES: dict[Language, str] = {"en": "English", "zh": "Chinese"}
_MEDIA: dict[Medium, str] = {"video": "video clip", "reference": "still picture"}
_SUFFIXES = (".txt", ".md")
_MAX_BYTES = 32 << 10


class PromptTemplate(BaseModel):
    """A prompt template: in recipes its name or path, in a checked config its text, which goes to the workers with
    it, so that all of them ask what was planned. Only the text's digest is in the key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(json_schema_extra={"key": False})
    text: str = Field(json_schema_extra={"key": False})
    digest: str

    @model_validator(mode="before")
    @classmethod
    def _loaded(cls, value: Any) -> Any:
        if isinstance(value, str):
            text = load(value)
            return {"name": value, "text": text, "digest": text_digest(text)}
        if isinstance(value, Mapping) and isinstance(value.get("text"), str):
            text = _checked(value["text"])
            return {"name": "inline", **value, "text": text, "digest": text_digest(text)}
        return value

    def ask(self, language: Language, medium: Medium) -> str:
        """The prompt for one clip."""
        wanted = LANGUAGES[language]
        text = self.text if "{language}" in self.text else f"{self.text}\n\nWrite in {{language}}."
        # No str.format: a user's text may hold other braces.
        return text.replace("{language}", wanted).replace("{medium}", _MEDIA[medium])


@cache
def built_in() -> tuple[str, ...]:
    """Names of the templates that come with the package."""
    folder = files("stages.caption") / "prompts"
    return tuple(sorted(f.name.removesuffix(".txt") for f in folder.iterdir() if f.name.endswith(".txt")))


def load(name_or_path: str) -> str:
    """The text of a template.

    A path is read only where it names a regular text file of moderate size: a recipe from others must not be able to
    send any file of this machine to a server.

    Raises:
        ValueError: there is none, or it is no such file; says what would do.
    """
    if name_or_path in built_in():
        return _checked((files("stages.caption") / "prompts" / f"{name_or_path}.txt").read_text("utf-8"))
    known = ", ".join(built_in())
    if not name_or_path.endswith(_SUFFIXES):
        hint = did_you_mean(name_or_path, built_in())
        raise ValueError(f"no template has this name{hint} (there are {known}; or give a .txt or .md file)")
    path = Path(name_or_path).expanduser()
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("the template is no regular file")
        if status.st_size > _MAX_BYTES:
            raise ValueError(f"the template has {status.st_size:,} bytes, and may have {_MAX_BYTES:,}")
        return _checked(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise ValueError(f"there is no such template file (built-in templates: {known})") from None
    except OSError as error:
        raise ValueError(f"the template cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ValueError("the template is no UTF-8 text") from error


def _checked(text: str) -> str:
    text = text.strip()
    if not text:
        raise ValueError("the template is empty")
    if "\0" in text or len(text.encode("utf-8", "surrogatepass")) > _MAX_BYTES:
        raise ValueError(f"the template holds NUL characters or is longer than {_MAX_BYTES:,} bytes")
    return text

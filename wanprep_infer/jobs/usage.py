"""What is wrong with what was asked for, as far as it can be told before anything large is read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from wanprep.errors import UsageError
from wanprep.media.source import is_remote, local_path
from wanprep_infer.generators.registry import engine, engines, generator
from wanprep_infer.jobs.plan import check_seeds
from wanprep_infer.jobs.ranks import check_engine
from wanprep_infer.load_options import Options


def check_usage(
    *,
    out: str | os.PathLike[str],
    seeds: Sequence[int],
    options: Options,
    engine_name: str,
    workers: int | None,
    address: str | None,
) -> Path:
    """What can be said before anything large is read or made; see `generate`. Returns the output folder.

    Raises:
        UsageError: one of them is wrong.
        ModelBroken: a LoRA is of a kind of file that none is read from.
    """
    from wanprep_infer.lora import Lora
    from wanprep_infer.lora.files import find_lora

    check_seeds(seeds)
    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers}: at least one is needed")
    if address and engine_name == "inline":
        raise UsageError(
            f"the inline engine runs in this process, not at {address}; leave one of the two out"
        )
    if engine_name != "auto" and engine_name not in engines():
        engine(engine_name)  # says which there are
    check_engine(options.memory, "inline" if engine_name == "auto" and not address else engine_name)
    for text in options.loras:
        find_lora(Lora.parse(text).path)
    return _folder(out)


def checked_settings(kind: str, fields: Mapping[str, Any]) -> BaseModel:
    """The settings of a generator with these fields, defaults for the rest.

    Raises:
        UsageError: an unknown field or a bad value.
    """
    try:
        return generator(kind).settings(fields)
    except ValidationError as error:
        raise UsageError(_first_problem(error, kind)) from error


def checked_options(fields: Mapping[str, Any]) -> Options:
    """Options of these fields, defaults for the rest.

    Raises:
        UsageError: an unknown field or a bad value.
    """
    try:
        return Options.model_validate(dict(fields))
    except ValidationError as error:
        raise UsageError(_first_problem(error, "options")) from error


def _first_problem(error: ValidationError, what: str) -> str:
    problem = error.errors(include_url=False)[0]
    path = str(problem["loc"][-1]) if problem["loc"] else ""
    if problem["type"] == "extra_forbidden":
        return f"{what} has no setting '{path}'"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not path:
        return f"{what}: {message}"
    option = "--" + path.replace("_", "-")
    return f"{option} {problem['input']}: {message[:1].lower()}{message[1:]}"


def _folder(out: str | os.PathLike[str]) -> Path:
    text = os.fspath(out)
    if is_remote(text):
        raise UsageError(f"--out {text}: videos are written to a local folder")
    folder = Path(local_path(text))
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {text}: is a file; give a folder")
    return folder.absolute()

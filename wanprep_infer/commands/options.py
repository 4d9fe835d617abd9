"""Command-line options out of settings models: names, types, defaults and descriptions are theirs."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection
from enum import Enum
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo


def with_fields(
    model: type[BaseModel], parameter: str, *, panel: str, without: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command an option for each field of a settings model. The command gets those that were given on the
    command line as one mapping, in its parameter of this name, so that defaults stay the model's own.

    Args:
        panel: heading of the options in `--help`.
        without: fields that the command has no option for.
    """
    fields = {name: info for name, info in model.model_fields.items() if name not in without}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True)

        def called(**given: Any) -> None:
            chosen = {name: _plain(value) for name in fields if (value := given.pop(name)) is not None}
            command(**given, **{parameter: chosen})

        kept = [item for name, item in own.parameters.items() if name != parameter]
        options = [_option(name, info, panel) for name, info in fields.items()]
        # Typer reads a command's options from its signature.
        called.__signature__ = own.replace(parameters=[*kept, *options])  # type: ignore[attr-defined]
        called.__name__, called.__doc__ = command.__name__, command.__doc__
        return called

    return decorate


def _option(name: str, info: FieldInfo, panel: str) -> inspect.Parameter:
    kind = _kind(info.annotation)
    flag = "--" + name.replace("_", "-")
    if kind is bool:
        flag += f"/--no-{name.replace('_', '-')}"
    option = typer.Option(
        flag,
        help=f"{info.description}{_shown(info)}",
        show_default=False,
        rich_help_panel=panel,
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _kind(annotation: Any) -> type:
    """A field's type on the command line: of words, an enumeration."""
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [part for part in get_args(annotation) if part is not type(None)]
        if len(inner) == 1:
            return _kind(inner[0])
    if get_origin(annotation) is Literal:
        return cast(type, Enum("Choice", [(word, word) for word in get_args(annotation)]))
    if annotation in (bool, int, float, str):
        return cast(type, annotation)
    raise TypeError(f"a setting of type {annotation} has no form on a command line")


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _shown(info: FieldInfo) -> str:
    """The default, as the end of a help text."""
    if info.default is None:
        return ""
    yes_or_no = {True: "yes", False: "no"}
    said = yes_or_no[info.default] if isinstance(info.default, bool) else info.default
    return f" Default: {said}."


def numbers(text: str, option: str) -> list[int]:
    """`1,2,3` as numbers.

    Raises:
        UsageError: something else.
    """
    from wanprep.errors import UsageError

    try:
        found = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        found = []
    if not found:
        raise UsageError(f"{option} '{text}': give whole numbers with commas between them, such as 1,2,3")
    return list(dict.fromkeys(found))

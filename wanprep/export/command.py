"""`wanprep export` and `wanprep import`."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wanprep.terminal import console, shown

if TYPE_CHECKING:
    from rich.console import Console

    from wanprep.export.export import ExportSummary
    from wanprep.export.importer import ImportSummary

_MOST_LINES = 50  # of clips that are named


def export_clips(
    store: Annotated[str, typer.Argument(help="Folder or bucket address of the store.")],
    out: Annotated[str, typer.Argument(help="Folder to write to, one sub-folder a clip.")],
    to: Annotated[str, typer.Option("--to", help="Form to write: wan22.")],
    clip: Annotated[
        list[str] | None, typer.Option("--clip", help="Id of a clip, or how it begins; may be repeated.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="option=value of the exporter; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Write clips as another tool reads them. Stop it any time; the same command goes on."""
    from wanprep.engine.progress import reporter
    from wanprep.export.export import export

    summary = export(store, to, out, clips=clip or (), options=_options(set_ or []), progress=reporter())
    if as_json:
        print(json.dumps(dataclasses.asdict(summary), indent=1))
    else:
        _print_export(console(), summary)


def import_folders(
    kind: Annotated[str, typer.Argument(metavar="FORM", help="Form of the folders: wan22.")],
    folder: Annotated[str, typer.Argument(metavar="DIR", help="A clip's folder, or a folder of such.")],
    store: Annotated[str, typer.Option("--store", "-s", help="Folder or bucket address of the store.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Take folders that another tool, or `wanprep export`, has made into a store. They stay where they are."""
    from wanprep.engine.progress import reporter
    from wanprep.export.importer import import_clips

    summary = import_clips(kind, folder, store, progress=reporter())
    if as_json:
        print(json.dumps(dataclasses.asdict(summary), indent=1))
    else:
        _print_import(console(), summary)


def _options(given: list[str]) -> dict[str, Any]:
    from wanprep import safe_yaml
    from wanprep.errors import UsageError

    options: dict[str, Any] = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not name or not equals:
            raise UsageError(f"--set {item}: write it as option=value, for example mode=replace")
        try:
            options[name.strip()] = safe_yaml.load(value)
        except Exception as error:  # YAML's own errors have several bases
            raise UsageError(f"--set {item}: the value is not valid YAML") from error
    return options


def _print_export(out: Console, summary: ExportSummary) -> None:
    from wanprep.hints import plural

    _named(out, "left out", summary.left_out)
    parts = [f"{plural(len(summary.written), 'clip')} written ({plural(summary.frames, 'frame')})"]
    if summary.already:
        parts.append(f"{len(summary.already):,} up to date")
    if summary.left_out:
        parts.append(f"{len(summary.left_out):,} left out")
    out.print(f"{', '.join(parts)}: {shown(summary.folder)}", soft_wrap=True, highlight=False)


def _print_import(out: Console, summary: ImportSummary) -> None:
    from wanprep.hints import plural

    for clip_id, stages in [*summary.clips.items(), *summary.already.items()][:_MOST_LINES]:
        known = ", already there" if clip_id in summary.already else ""
        out.print(
            f"{shown(clip_id)}: {shown(', '.join(stages)) or 'no artifacts'}{known}",
            soft_wrap=True,
            highlight=False,
        )
        for what, why in summary.lacking.get(clip_id, {}).items():
            out.print(f"  without {shown(what)}: {shown(why)}", soft_wrap=True, highlight=False)
    _named(out, "left out", summary.left_out)
    parts = [f"{plural(len(summary.clips), 'clip')} imported"]
    if summary.already:
        parts.append(f"{len(summary.already):,} already there")
    if summary.left_out:
        parts.append(f"{len(summary.left_out):,} left out")
    out.print(f"{', '.join(parts)}: {shown(summary.store)}", soft_wrap=True, highlight=False)


def _named(out: Console, what: str, reasons: dict[str, str]) -> None:
    for name, why in list(reasons.items())[:_MOST_LINES]:
        out.print(f"{what} {shown(name)}: {shown(why)}", soft_wrap=True, highlight=False)
    if len(reasons) > _MOST_LINES:
        out.print(f"... and {len(reasons) - _MOST_LINES:,} more; --json names all")

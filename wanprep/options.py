"""Arguments and options that several commands take, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Inputs = Annotated[
    list[str],
    typer.Argument(
        help="Video or sound files, folders, globs or manifests (csv, jsonl, parquet).", show_default=False
    ),
]
StoreOption = Annotated[str, typer.Option("--store", "-s", help="Folder or bucket address of the store.")]
StoreArgument = Annotated[str, typer.Argument(help="Folder or bucket address of the store.")]
RecipeOption = Annotated[
    str | None, typer.Option("--recipe", "-r", help="Recipe file (YAML) or preset name.", show_default=False)
]
PresetOption = Annotated[
    str | None, typer.Option("--preset", "-p", help="Preset to start from; default: features.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="stage.field=value, on top of the recipe; may be repeated.")
]
OnlyOption = Annotated[
    str | None, typer.Option("--only", help="Just these stages and their needs, comma-separated.")
]
ModelsOption = Annotated[
    Path | None,
    typer.Option(
        "--models",
        help="Take models from this folder (DIR/umt5-xxl ...), and download none.",
        show_default=False,
    ),
]
ReferenceOption = Annotated[
    str | None,
    typer.Option(help="Reference picture of clips that have none in a manifest.", show_default=False),
]
AudioOption = Annotated[
    str | None,
    typer.Option(
        help="Sound file, or video with sound, of clips that have none in a manifest; in place of a video's own.",
        show_default=False,
    ),
]
PromptOption = Annotated[
    str | None, typer.Option(help="Prompt of clips that have none in a manifest.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]

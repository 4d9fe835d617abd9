"""`wanprep models`: what checkpoints there are, fetching them, making tiny ones."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich")


@app.command("list")
def list_models(
    models: Annotated[
        Path | None, typer.Option("--models", help="Look in this folder first, as `wanprep run` does.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Show the checkpoints that are known by name, and which of them are here."""
    from wanprep.models.listing import listing, print_listing

    found = listing(models)
    if as_json:
        print(json.dumps([line.to_json() for line in found], indent=1))
    else:
        print_listing(found)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A name of `wanprep models list`, or a hub id (owner/name).")],
) -> None:
    """Download a checkpoint into the Hugging Face cache. Stop it any time; the same command goes on."""
    from wanprep.engine.progress import reporter
    from wanprep.models.fetch import fetch as fetch_model
    from wanprep.models.progress import heard_by
    from wanprep.terminal import plain

    with heard_by(reporter().phase):
        model = fetch_model(name)
        digest = model.digest()
    print(f"{plain(model.name)} {digest} {plain(str(model.path))}")


@app.command()
def tiny(
    folder: Annotated[Path, typer.Argument(help="Folder to make them in, one sub-folder a model.")],
    names: Annotated[
        list[str] | None, typer.Argument(help="Models to make; default: all.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same bytes.")] = 0,
) -> None:
    """Make tiny checkpoints of random weights in the real layouts, to try everything without a download.

    Use them with `wanprep run ... --models FOLDER`. What they encode means nothing.
    """
    from wanprep.hints import size_text
    from wanprep.models.tiny import make_tiny
    from wanprep.terminal import plain

    making = make_tiny(folder, names or (), seed=seed)
    while True:
        # The libraries' own bars and notes on what they write.
        with redirect_stderr(io.StringIO()):
            made = next(making, None)
        if made is None:
            return
        print(f"{made.name}  {size_text(made.nbytes)}  {plain(str(made.path))}", flush=True)

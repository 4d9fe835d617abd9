"""The command line of a cluster job: `wanprep run` with Ray and an address."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def preprocess(
    inputs: Annotated[
        list[str], typer.Argument(help="Videos, folders, globs or manifests, as the workers see them.")
    ],
    store: Annotated[str, typer.Option("--store", "-s", help="Bucket or shared folder of the store.")],
    address: Annotated[
        str, typer.Option(help="The cluster: host:port, or auto for the one of this machine.")
    ] = "auto",
    recipe: Annotated[
        str | None, typer.Option("--recipe", "-r", help="Recipe file (YAML) or preset name.")
    ] = None,
    preset: Annotated[str | None, typer.Option("--preset", "-p", help="Preset to start from.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="stage.field=value; may be repeated.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Just these stages and their needs, comma-separated.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Workers of an operator; default: all that fit.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed before.")
    ] = False,
) -> None:
    """Make what the store does not hold yet, on a Ray cluster."""
    from wanprep.engine.progress import reporter
    from wanprep.runner import run

    summary = run(
        inputs,
        store=store,
        recipe=recipe,
        preset=preset,
        overrides=set_ or (),
        only=[name.strip() for name in only.split(",")] if only else (),
        engine="ray",
        workers=workers,
        address=address,
        retry_failed=retry_failed,
        progress=reporter(),
    )
    typer.echo(json.dumps(summary.to_json(), indent=1))


def main() -> None:
    """Exit codes as `wanprep` has them: 1 the job or the store broke, 2 bad usage, 130 stopped."""
    from wanprep import cli

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(preprocess)
    cli.main(app)

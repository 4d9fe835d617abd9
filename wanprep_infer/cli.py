"""The command line of generation. Everything heavy is imported inside the commands, so that `--help` is instant.

Exit codes: 0 done, even with failed generations, which are counted; 1 the job, the store or the model broke; 2 bad
usage; 3 with `--strict` and failures; 130 stopped with Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from wanprep.exit_codes import guarded
from wanprep_infer.commands.animate import animate
from wanprep_infer.commands.s2v import s2v

app = typer.Typer(
    help="Generate videos with Wan2.2-Animate and Wan2.2-S2V from a store that `wanprep run` has made.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("animate")(animate)
app.command("s2v")(s2v)


def main(call: Callable[[], Any] = app) -> None:
    """Runs the command line; errors for people are one line on stderr."""
    guarded(call, "wanprep-infer")

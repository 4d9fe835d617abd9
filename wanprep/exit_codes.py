"""How a command line ends: one line for people on stderr, and the exit code that belongs to it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from wanprep.errors import UsageError, WanprepError

BROKEN, USAGE, STOPPED = 1, 2, 130


def guarded(call: Callable[[], Any], program: str) -> None:
    """Runs a command line under the name `program`.

    Raises:
        SystemExit: 1 the job or the store broke, 2 bad usage, 130 stopped with Ctrl-C, or what `call` exits with.
    """
    try:
        call()
    except UsageError as error:
        _complain(program, error)
        sys.exit(USAGE)
    except WanprepError as error:
        _complain(program, error)
        sys.exit(BROKEN)
    except SystemExit as end:
        # Typer turns Ctrl-C into this exit code.
        if end.code == STOPPED:
            print("stopped; the same command goes on from here", file=sys.stderr)
        raise


def _complain(program: str, error: Exception) -> None:
    from wanprep.terminal import plain

    print(f"{program}: {plain(str(error))}", file=sys.stderr)

"""Errors as plain data on their way from a worker to the driver: Ray would wrap, log and show them."""

from __future__ import annotations

import traceback
from collections.abc import Mapping

from wanprep.engine.steps import one_line
from wanprep.errors import StoreError, UsageError, WanprepError

_KINDS: dict[str, type[WanprepError]] = {
    kind.__name__: kind for kind in (UsageError, StoreError, WanprepError)
}


def as_document(error: Exception) -> dict[str, str]:
    """An exception as text: its nearest kind of ours, its message and where it came from."""
    kind = next((name for name, kind in _KINDS.items() if isinstance(error, kind)), "")
    return {
        "kind": kind,
        "message": one_line(error),
        "traceback": "".join(traceback.format_exception(error)),
    }


def as_exception(document: Mapping[str, str]) -> WanprepError:
    """The exception that such a text tells of."""
    if kind := _KINDS.get(document["kind"]):
        return kind(document["message"])
    broken = WanprepError(
        f"a worker broke down: {document['message']}; this is a bug in wanprep or a plug-in"
    )
    broken.add_note(document["traceback"])
    return broken

"""Who hears how far a download or a digest is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

#: phase, done, total
Progress = Callable[[str, int, int], None]


def _silent(phase: str, done: int, total: int) -> None:
    return None


_listener: ContextVar[Progress] = ContextVar("listener", default=_silent)


@contextlib.contextmanager
def heard_by(progress: Progress) -> Iterator[None]:
    """Has `progress` told of downloads and of digests of large files while the block runs."""
    last: tuple[str, int, int] | None = None

    def listen(phase: str, done: int, total: int) -> None:
        nonlocal last
        last = (phase, done, total)
        progress(phase, done, total)

    token = _listener.set(listen)
    try:
        yield
    finally:
        _listener.reset(token)
        if last is not None and last[1] < last[2]:
            progress(last[0], last[2], last[2])  # a bar is on the screen until its phase is over


def tell(phase: str, done: int, total: int) -> None:
    """Bytes done of a total, told in MB."""
    _listener.get()(f"{phase}, MB", round(done / 1e6), max(1, round(total / 1e6)))

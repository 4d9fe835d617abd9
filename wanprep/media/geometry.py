"""Picture sizes: width and height in pixels, rotation applied."""

from __future__ import annotations

from typing import TypeAlias

Size: TypeAlias = tuple[int, int]  # width, height


_MAX_ASPECT = 16  # the widest films, of several screens side by side, are below 8


def fit_short_side(width: int, height: int, short_side: int) -> Size:
    """The size whose shorter side is `short_side`, aspect kept, both even; never larger than the source, and never
    longer than 16 times `short_side`, so that a thin strip costs no more than a picture."""
    return _scaled(
        width, height, min(short_side / min(width, height), _MAX_ASPECT * short_side / max(width, height))
    )


def fit_long_side(width: int, height: int, long_side: int) -> Size:
    """The size whose longer side is `long_side`, aspect kept, both even; never larger than the source."""
    return _scaled(width, height, long_side / max(width, height))


def _scaled(width: int, height: int, scale: float) -> Size:
    if scale >= 1:
        return width, height
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)

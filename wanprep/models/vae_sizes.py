"""Picture sizes that Wan models take: multiples of what a latent token covers, near a wanted area or shorter side."""

from __future__ import annotations

import math

from wanprep.media.geometry import Size

S2V_MULTIPLE = 64  # Wan2.2-S2V official code
_S2V_STEPS = 100
_S2V_LEAST = 0.1  # of the sides, where nothing need shrink
_MAX_ASPECT = 16  # the widest films, of several screens side by side, are below 8


def size_by_short_side(width: int, height: int, short_side: int, multiple: int) -> Size:
    """Width and height whose shorter one is about `short_side`, aspect kept, each the nearest multiple; the longer is
    at most 16 times the shorter."""
    scale = short_side / min(width, height)
    longest = _MAX_ASPECT * short_side
    return _nearest(min(width * scale, longest), multiple), _nearest(min(height * scale, longest), multiple)


def _nearest(length: float, multiple: int) -> int:
    return max(1, round(length / multiple)) * multiple


def s2v_size(width: int, height: int, area: int) -> Size:
    """The size that Wan2.2-S2V generates at for a reference picture, of at most `area` pixels (official code).

    The largest multiples of 64 that a scale of the picture, rounded up, reaches within the area; never above the
    picture's own scale.
    """
    most, least = 1.0, _S2V_LEAST
    if width * height > area:
        unit = S2V_MULTIPLE - 1
        a, b, c = height * width, unit * (height + width), unit**2 - area
        most = math.sqrt(area / a)
        # The official formula has 2ac where a quadratic's root has 4ac; sizes follow it.
        least = (-b + math.sqrt(b * b - 2 * a * c)) / (2 * a)
    for step in range(_S2V_STEPS):
        scale = most - (most - least) * step / _S2V_STEPS
        high, wide = _up(int(height * scale)), _up(int(width * scale))
        if high * wide <= area:
            return wide, high
    aspect = width / height
    wide, high = _down(math.sqrt(area * aspect)), _down(math.sqrt(area / aspect))
    return (_down(width), _down(height)) if wide >= width or high >= height else (wide, high)


def _up(length: int) -> int:
    return math.ceil(length / S2V_MULTIPLE) * S2V_MULTIPLE


def _down(length: float) -> int:
    return int(length // S2V_MULTIPLE) * S2V_MULTIPLE

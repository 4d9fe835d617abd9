"""The mouth's shape from how open and how rounded it is, and what is seen inside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wanprep.sample.field import FloatArray, Points, bump, ramp, within
from wanprep.sample.look import Look
from wanprep.sample.pose import FigurePose
from wanprep.sample.shading import flat, mix, tint

REST_Y = 7.15


@dataclass(frozen=True)
class MouthShape:
    """Lip line in the head's coordinates (cm): half the mouth's width, the heights of its corners, of the
    upper lip's lower edge and of the lower lip's upper edge at the middle, and how far the jaw has
    dropped."""

    half_width: float
    corner_y: float
    upper_y: float
    lower_y: float
    jaw_drop: float

    @classmethod
    def of(cls, pose: FigurePose) -> MouthShape:
        """The shape of a pose: rounding narrows, smiling widens and lifts the corners."""
        opened = pose.mouth_open
        half = 2.35 + 0.35 * pose.smile * (1 - opened) - 0.75 * pose.mouth_round * min(1.0, 2 * opened)
        corner = REST_Y - 0.58 * pose.smile + 0.35 * opened
        return cls(half, corner, REST_Y - 0.28 * opened, REST_Y + 1.55 * opened, 1.35 * opened)


def paint_mouth(colour_3N: FloatArray, local: Points, pose: FigurePose, look: Look) -> FloatArray:
    """Lips, and between them teeth and tongue, over linear albedo (3, N); points of the head's front only."""
    shape = MouthShape.of(pose)
    x, y, _ = local
    place = x / shape.half_width
    middle = within(np.asarray(1 - place * place))
    corner = shape.corner_y
    upper_edge = corner + (shape.upper_y - corner) * middle**0.8 - 0.03 * bump(place, 0.0, 0.16)
    lower_edge = corner + (shape.lower_y - corner) * middle**0.7
    cupid = 1 + 0.10 * bump(np.abs(place), 0.24, 0.16) - 0.14 * bump(place, 0.0, 0.13)
    fullness = 1 + 0.25 * pose.mouth_round
    lip_top = upper_edge - 0.78 * fullness * middle**0.75 * cupid
    lip_bottom = lower_edge + 0.98 * fullness * middle**0.6
    sharp = 0.09
    corners = ramp(middle, 0.0, 0.05)
    lips_N = ramp(y - lip_top, -sharp, sharp) * ramp(lip_bottom - y, -sharp, sharp) * corners
    lip_31 = flat(look.skin_rgb) * tint(0.86, 0.50, 0.50)
    lip_31 = lip_31 * tint(1.0, 1.0 - 0.18 * look.makeup, 1.0 - 0.14 * look.makeup)
    tone_N = 1 - 0.18 * ramp(upper_edge - y, 0.0, 0.3)
    tone_N += 0.30 * bump(y - lower_edge, 0.42, 0.2) * bump(place, -0.15, 0.4)
    colour_3N = mix(colour_3N, tone_N * lip_31, (0.7 + 0.22 * look.makeup) * lips_N)
    gap = lower_edge - upper_edge
    inside_N = (
        ramp(y - upper_edge, -0.07, 0.07)
        * ramp(lower_edge - y, -0.07, 0.07)
        * corners
        * ramp(gap, 0.03, 0.16)
    )
    depth = y - upper_edge
    inner_3N = flat((74, 22, 24))
    tongue_N = ramp(np.hypot(x / (0.62 * shape.half_width), (y - shape.lower_y - 0.12) / 0.75), 1.05, 0.75)
    inner_3N = mix(inner_3N, flat((196, 96, 96)), 0.8 * tongue_N)
    curve = 0.13 * place * place
    teeth_N = ramp(depth, -0.05, 0.05) * ramp(depth + curve, 0.56, 0.44) * ramp(np.abs(place), 0.86, 0.6)
    gaps_N = 1 - 0.12 * np.exp(-((np.abs(np.mod(x + 0.37, 0.74) - 0.37) / 0.06) ** 2)) * ramp(
        np.abs(x), 0.2, 0.4
    )
    tooth_3N = (gaps_N * (0.62 + 0.38 * ramp(depth, 0.0, 0.3))) * flat((240, 234, 224))
    inner_3N = mix(inner_3N, tooth_3N, teeth_N)
    colour_3N = mix(colour_3N, inner_3N, inside_N)
    # Where the lips meet there is always a dark line, softer when the mouth is open.
    seam_N = bump(y - 0.5 * (upper_edge + lower_edge), 0.0, 0.10)
    seam_N = seam_N * ramp(gap, 0.22, 0.05) * ramp(np.abs(place), 1.06, 0.96)
    return mix(colour_3N, flat((112, 42, 42)), 0.75 * seam_N)

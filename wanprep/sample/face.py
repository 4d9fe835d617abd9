"""The painted face: eyes that look and blink, brows, nose, cheeks, mouth, in the head's coordinates."""

from __future__ import annotations

import numpy as np

from wanprep.sample.field import FloatArray, Points, bump, ramp, within
from wanprep.sample.head import EYE_X, EYE_Y
from wanprep.sample.look import Look
from wanprep.sample.mouth import paint_mouth
from wanprep.sample.pose import FigurePose
from wanprep.sample.shading import flat, mix, tint

EYE_HALF_WIDTH = 1.82
IRIS_RADIUS = 0.88
PUPIL_RADIUS = 0.40


def _paint_eye(colour_3N: FloatArray, local: Points, side: int, pose: FigurePose, look: Look) -> FloatArray:
    """One eye; `side` is 1 at the picture's right."""
    skin_31, iris_31 = flat(look.skin_rgb), flat(look.eye_rgb)
    outward = (local.x - side * EYE_X) * side  # grows from the nose to the temple
    down = local.y - EYE_Y + 0.07 * outward  # the outer corner sits a little higher
    place = outward / EYE_HALF_WIDTH
    arch = within(np.asarray(1 - place * place))
    lid_top = -(0.92 + 0.12 * pose.brow) * arch**0.62
    lid_low = 0.50 * arch**0.75
    shut = 0.06 * pose.smile + (1 - 0.06 * pose.smile) * pose.blink
    upper = lid_top + (lid_low - lid_top) * shut
    lower = lid_low - 0.08 * pose.smile
    soft = 0.07
    opening = ramp(down - upper, -soft, soft) * ramp(lower - down, -soft, soft) * ramp(arch, 0.0, 0.06)

    # Skin around the eye: shadow under the brow, the lid's fold, a soft line below.
    socket_N = bump(down, -1.05, 0.75) * bump(outward, -0.1, 1.7)
    socket_N += 0.5 * bump(outward, -1.7, 0.5) * bump(down, -0.2, 0.9)
    colour_3N = mix(colour_3N, colour_3N * tint(0.74, 0.60, 0.58), within(0.55 * socket_N))
    fold = lid_top - 0.34 + 0.18 * pose.blink
    fold_N = bump(down - fold, 0.0, 0.10) * ramp(arch, 0.05, 0.4)
    pouch_N = bump(down - lid_low, 0.42, 0.16) * ramp(arch, 0.1, 0.5)
    lines_N = 0.55 * fold_N + 0.16 * pouch_N
    colour_3N = mix(colour_3N, colour_3N * tint(0.55, 0.40, 0.36), lines_N)

    # The ball: white that darkens to the corners and under the lid, then the iris where the eye looks.
    white_N = 0.93 - 0.30 * np.abs(place) ** 2.5 - 0.42 * ramp(down - upper, 0.55, 0.0)
    ball_3N = white_N * flat((244, 240, 236))
    ball_3N = mix(ball_3N, flat((214, 140, 130)), 0.8 * bump(place, -0.98, 0.13))
    iris_x = outward - side * 0.62 * pose.gaze[0]
    iris_y = down + 0.10 - 0.34 * pose.gaze[1] - 0.07 * outward
    radius = np.hypot(iris_x, iris_y)
    streak_N = 1 + 0.16 * np.sin(17 * np.arctan2(iris_y, iris_x))
    light_N = (0.75 + 0.9 * ramp(iris_y, -0.5, 0.7)) * streak_N * (1 - 0.68 * ramp(radius, 0.52, IRIS_RADIUS))
    light_N = light_N * (1 - 0.35 * ramp(down - upper, 0.5, 0.0))
    ball_3N = mix(ball_3N, light_N * (1.25 * iris_31), ramp(radius, IRIS_RADIUS + 0.07, IRIS_RADIUS - 0.07))
    ball_3N = mix(ball_3N, flat((18, 14, 14)), ramp(radius, PUPIL_RADIUS + 0.07, PUPIL_RADIUS - 0.07))
    screen_x = outward * side - 0.62 * pose.gaze[0]
    glint_N = ramp(np.hypot(screen_x + 0.29, iris_y + 0.30), 0.27, 0.13)
    glint_N = np.maximum(glint_N, 0.35 * ramp(np.hypot(screen_x - 0.30, iris_y - 0.34), 0.22, 0.08))
    ball_3N = mix(ball_3N, tint(1.15, 1.15, 1.15), glint_N)
    colour_3N = mix(colour_3N, ball_3N, opening)

    # Lashes: a dark edge, thicker and longer towards the temple.
    thick = 0.13 + 0.09 * ramp(place, -0.6, 0.9)
    reach = ramp(np.abs(place - 0.04), 1.10, 0.94)
    thick = thick * (0.6 + 0.4 * look.makeup)
    lash_N = ramp(np.abs(down - upper + 0.04), thick + 0.07, thick - 0.05) * reach
    wing = down + 0.15 + 0.85 * (outward - EYE_HALF_WIDTH)
    wing_N = ramp(np.abs(wing), 0.2, 0.05) * ramp(outward, 1.5, 1.7) * ramp(outward, 2.25, 1.8)
    lash_N = np.maximum(lash_N, look.makeup * wing_N)
    colour_3N = mix(colour_3N, flat((38, 24, 22)), 0.95 * lash_N)
    under_N = (
        bump(down - lower, 0.05, 0.07) * ramp(np.abs(place), 1.0, 0.85) * (0.4 + 0.6 * ramp(place, -0.2, 0.8))
    )
    return mix(colour_3N, skin_31 * tint(0.42, 0.25, 0.22), 0.6 * under_N)


def _paint_brow(colour_3N: FloatArray, local: Points, side: int, pose: FigurePose, look: Look) -> FloatArray:
    """One brow: a tapered arch of hair."""
    outward = local.x * side - 1.25
    place = outward / 4.0
    raised = 0.55 * pose.brow
    line = -2.05 - raised - 0.62 * np.sin(within(place * 0.92) * np.pi * 0.86) + 0.25 * place**3
    thick = 0.40 * np.clip(1 - 0.85 * place, 0.12, 1) * ramp(place, -0.06, 0.12)
    thick = thick * (1.3 - 0.3 * look.makeup)
    hair_N = 1 + 0.25 * np.sin(9 * local.y - 14 * outward)
    brow_N = ramp(np.abs(local.y - line), thick + 0.14, thick * 0.45)
    brow_N = brow_N * ramp(place, 1.03, 0.9) * ramp(place, -0.08, 0.06)
    dark_31 = flat(look.hair_rgb) * 0.55
    return mix(colour_3N, np.clip(hair_N, 0.6, 1.3) * dark_31, 0.86 * brow_N)


def face_colour(local: Points, pose: FigurePose, look: Look) -> FloatArray:
    """Linear albedo (3, N) of head and neck."""
    skin_31 = flat(look.skin_rgb)
    colour_3N = skin_31 * np.ones_like(local.x)
    front = np.flatnonzero((local.z > 2.5) & (local.y > -6) & (local.y < 12.5))
    if front.size == 0:
        return colour_3N
    spot = Points(local.x[front], local.y[front], local.z[front])
    side = np.abs(spot.x)
    front_3N = colour_3N[:, front]
    blush_N = 0.5 * bump(np.hypot(side - 4.3, (spot.y - 4.2) * 1.25), 0.0, 2.1)
    blush_N += 0.45 * bump(np.hypot(spot.x, spot.y - 4.4), 0.0, 1.4)
    blush_N += 0.25 * bump(np.hypot(spot.x, spot.y - 10), 0, 1.5)
    front_3N = mix(front_3N, front_3N * tint(1.0, 0.70, 0.66), within(blush_N))
    nostril_N = ramp(np.hypot((side - 0.62) / 0.40, (spot.y - 5.12 - 0.12 * side) / 0.20), 1.25, 0.7)
    front_3N = mix(front_3N, skin_31 * tint(0.26, 0.14, 0.12), 0.85 * nostril_N)
    wing_N = (
        bump(np.hypot(side - 0.95, spot.y - 4.6), 0.85, 0.13) * ramp(side, 1.3, 1.6) * ramp(spot.y, 3.9, 4.5)
    )
    front_3N = mix(front_3N, front_3N * tint(0.70, 0.52, 0.48), 0.6 * wing_N)
    for which in (-1, 1):
        near = np.flatnonzero(np.abs(spot.x - which * EYE_X) < 3.3)
        part = Points(spot.x[near], spot.y[near], spot.z[near])
        painted = _paint_eye(front_3N[:, near], part, which, pose, look)
        front_3N[:, near] = _paint_brow(painted, part, which, pose, look)
    near = np.flatnonzero((spot.y > 5) & (side < 4))
    front_3N[:, near] = paint_mouth(
        front_3N[:, near], Points(spot.x[near], spot.y[near], spot.z[near]), pose, look
    )
    colour_3N[:, front] = front_3N
    return colour_3N

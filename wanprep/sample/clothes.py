"""The dressed torso and sleeves: an open cardigan over a round-necked shirt."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wanprep.sample.field import Cones, Field, FloatArray, Points, bump, cone, melt, ramp, within
from wanprep.sample.look import Look
from wanprep.sample.rig import Arm, Rig
from wanprep.sample.shading import flat, mix
from wanprep.sample.surface import Box

# Half width and half depth of the trunk, and half the cardigan's opening, in cm below the collarbones' notch.
TRUNK_WIDTH = (
    (-8.0, 10.0),
    (-2.0, 11.4),
    (3.0, 13.6),
    (9.0, 14.4),
    (18.0, 13.8),
    (28.0, 12.4),
    (38.0, 12.8),
    (50.0, 15.0),
)
TRUNK_DEPTH = (
    (-8.0, 5.0),
    (-2.0, 5.5),
    (3.0, 7.6),
    (9.0, 9.6),
    (18.0, 10.2),
    (28.0, 9.2),
    (38.0, 9.0),
    (50.0, 9.8),
)
OPENING = ((-6.0, 8.2), (2.0, 6.8), (12.0, 5.0), (24.0, 4.3), (40.0, 5.0), (60.0, 6.5))
KNIT_THICKNESS = 0.55
TABLE_TOP, TABLE_STEP, TABLE_ROWS = -12.0, 0.02, 4000


def _profile(knots: tuple[tuple[float, float], ...]) -> FloatArray:
    """A smooth curve through knots (height, value), sampled every fifth of a millimetre."""
    heights = TABLE_TOP + TABLE_STEP * np.arange(TABLE_ROWS)
    raw = np.interp(heights, [knot[0] for knot in knots], [knot[1] for knot in knots])
    window = np.hanning(401)
    return np.convolve(np.pad(raw, 200, mode="edge"), window / window.sum(), "valid").astype(np.float32)


WIDTH_TABLE, DEPTH_TABLE, OPENING_TABLE = _profile(TRUNK_WIDTH), _profile(TRUNK_DEPTH), _profile(OPENING)


def _rows(y: FloatArray) -> npt.NDArray[np.int32]:
    """Table rows for heights."""
    return np.asarray(within((y - TABLE_TOP) * (1 / (TABLE_STEP * TABLE_ROWS))) * (TABLE_ROWS - 1)).astype(
        np.int32
    )


def _neckline(points: Points) -> FloatArray:
    """Signed distance (cm, positive on cloth) from the shirt's neckline, an oval at the neck's root."""
    across, down = points.x * (1 / 1.08), points.y + 4.3
    return np.asarray(np.sqrt(across * across + down * down) - 5.9)


def trunk_field(rig: Rig, breath: float) -> Field:
    """Distance to the dressed trunk with its shoulders and upper sleeves, in the body's coordinates."""
    turn = rig.body.rotation_33.T
    sleeves = []
    for arm in (rig.left_arm, rig.right_arm):
        start_3, end_3 = turn @ (arm.shoulder_3 - rig.body.origin_3), turn @ (arm.elbow_3 - rig.body.origin_3)
        sleeves.append(cone(start_3, end_3, 4.7, 4.0))
    slopes = [
        cone(np.array([side * 3.5, -1.2, -2.6]), np.array([side * 13.4, 3.6, -1.8]), 2.6, 4.6)
        for side in (-1, 1)
    ]
    neck = cone(np.array([0.0, -7.0, -2.6]), np.array([0.0, 0.5, -2.2]), 3.3, 3.9)
    limbs = Cones((*slopes, neck, *sleeves))
    depth_table = DEPTH_TABLE * np.float32(1 + 0.012 * breath)

    def distance(points: Points) -> FloatArray:
        x, y, z = points
        rows = _rows(y)
        width, depth = WIDTH_TABLE[rows], depth_table[rows]
        across, through = x / width, (z + 1.5) / depth
        across *= across
        through *= through
        # A squarish oval section: a chest is flatter than an ellipse.
        level = np.sqrt(np.sqrt(across * across + through * through + 0.9 * (across * through)))
        trunk = (level - 1) * np.minimum(width, depth)
        whole = -melt(-trunk, y - 1.5, 5.0)
        for limb_N, fillet in zip(limbs.distances(points), (3.0, 3.0, 3.0, 2.2, 2.2), strict=True):
            whole = melt(whole, limb_N, fillet)
        return np.asarray((whole - 0.8 * KNIT_THICKNESS) * 0.92)

    return distance


def knit_relief(points: Points) -> FloatArray:
    """How far cloth stands out (cm): the cardigan's edge over the shirt, and soft folds down its sides."""
    x, y, _ = points
    side = np.abs(x)
    edge = ramp(side - OPENING_TABLE[_rows(y)], -0.25, 0.25) * ramp(_neckline(points), 0.5, 1.5)
    folds = np.sin(0.55 * y + 0.28 * side + 0.9 * np.sin(0.21 * x + 0.13 * y)) * ramp(side, 5, 11)
    return np.asarray(KNIT_THICKNESS * edge + 0.16 * folds)


def trunk_box(rig: Rig) -> Box:
    """World bounds of the trunk and upper sleeves."""
    x, y, _ = (float(value) for value in rig.body.origin_3)
    reach = max(abs(float(arm.elbow_3[0]) - x) for arm in (rig.left_arm, rig.right_arm)) + 7
    return Box((x - reach, y - 9, -16), (x + reach, y + 62, 18))


def trunk_colour(local: Points, look: Look) -> FloatArray:
    """Linear albedo (3, N): skin inside the neckline, shirt in the opening, cardigan with ribbed edges."""
    x, y, _ = local
    beyond_N = np.abs(x) - OPENING_TABLE[_rows(y)]
    knit_31, shirt_31, skin_31 = flat(look.knit_rgb), flat(look.shirt_rgb), flat(look.skin_rgb)
    tone_N = 1 + 0.05 * np.sin(x * 7.5) * np.sin(y * 7.5)
    colour_3N = tone_N * knit_31
    band_N = ramp(beyond_N, 2.5, 2.3)
    ribs_N = 0.84 + 0.10 * np.sin(2 * np.pi * y / 0.9)
    colour_3N = mix(colour_3N, ribs_N * knit_31, band_N)
    seam_N = bump(beyond_N, 2.5, 0.16)
    colour_3N = mix(colour_3N, 0.5 * colour_3N, 0.6 * seam_N)
    # A button every nine centimetres, on the picture's right edge.
    to_button_N = np.hypot(x - OPENING_TABLE[_rows(y)] - 1.25, np.mod(y - 4.5, 9.0) - 4.5)
    buttoned_N = ramp(y, 4.5, 4.6)
    colour_3N = mix(colour_3N, 0.35 * knit_31 + 0.05, ramp(to_button_N, 0.72, 0.56) * buttoned_N)
    colour_3N = mix(colour_3N, knit_31 * 0.12, ramp(to_button_N, 0.26, 0.14) * buttoned_N)
    neckline_N = _neckline(local)
    hem_N = 1 - 0.14 * bump(neckline_N, 1.25, 0.16)
    shade_N = hem_N * (1 - 0.35 * ramp(beyond_N, -1.6, 0.0))
    shirt_share_N = np.maximum(ramp(beyond_N, 0.12, -0.12), ramp(neckline_N, 1.0, 0.8))
    colour_3N = mix(colour_3N, shade_N * shirt_31, shirt_share_N)
    return mix(colour_3N, skin_31, np.maximum(ramp(neckline_N, 0.14, -0.06), ramp(y, -6.5, -7.0)))


def sleeve_field(arm: Arm) -> Field:
    """Distance to one sleeve, shoulder to cuff, in the world's coordinates."""
    along_3 = arm.wrist_3 - arm.elbow_3
    cuff_3 = arm.elbow_3 + 0.86 * along_3
    upper = cone(arm.shoulder_3, arm.elbow_3, 4.7, 4.0)
    lower = cone(arm.elbow_3, arm.elbow_3 + 0.80 * along_3, 4.0, 3.1)
    cuff = cone(arm.elbow_3 + 0.70 * along_3, cuff_3, 3.15, 2.75)
    parts = Cones((upper, lower, cuff))
    ex, ey, ez = (float(value) for value in arm.elbow_3)
    ux, uy, uz = (float(value) for value in along_3 / np.linalg.norm(along_3))

    def distance(points: Points) -> FloatArray:
        along = (points.x - ex) * ux + (points.y - ey) * uy + (points.z - ez) * uz
        upper_N, lower_N, cuff_N = parts.distances(points)
        whole = melt(upper_N, melt(lower_N, cuff_N, 0.3), 1.6)
        wrinkles = 0.13 * np.sin(1.25 * along + 0.35 * points.x) * bump(along, 1.0, 6.5)
        return np.asarray((whole - wrinkles) * 0.95)

    return distance


def sleeve_box(arm: Arm) -> Box:
    """World bounds of one sleeve."""
    return Box.around(np.stack([arm.shoulder_3, arm.elbow_3, arm.wrist_3]), 6.5)


def sleeve_colour(world: Points, arm: Arm, look: Look) -> FloatArray:
    """Linear albedo (3, N) of the sleeve, ribbed at the cuff."""
    along_3 = arm.wrist_3 - arm.elbow_3
    length = float(np.linalg.norm(along_3))
    ux, uy, uz = (float(value) for value in along_3 / length)
    ex, ey, ez = (float(value) for value in arm.elbow_3)
    px, py, pz = world.x - ex, world.y - ey, world.z - ez
    along_N = px * ux + py * uy + pz * uz
    across_N = (px * uy - py * ux) / max(1e-3, float(np.hypot(ux, uy)))  # sideways in the picture
    knit_31 = flat(look.knit_rgb)
    tone_N = 1 + 0.05 * np.sin(across_N * 7.5) * np.sin(along_N * 7.5)
    cuff_N = ramp(along_N, 0.70 * length - 0.1, 0.70 * length + 0.1)
    ribs_N = 0.84 + 0.10 * np.sin(2 * np.pi * across_N / 0.8)
    colour_3N = mix(tone_N * knit_31, ribs_N * knit_31, cuff_N)
    edge_N = bump(along_N, 0.70 * length, 0.2)
    return mix(colour_3N, 0.55 * colour_3N, 0.6 * edge_N)

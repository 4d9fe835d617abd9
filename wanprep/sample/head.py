"""The head and neck as a distance field: skull, brow, cheeks, nose, lips and a jaw that drops."""

from __future__ import annotations

import numpy as np

from wanprep.sample.field import Cones, Field, FloatArray, Points, carve, cone, ellipsoid, melt, ramp, sphere
from wanprep.sample.mouth import MouthShape
from wanprep.sample.pose import FigurePose
from wanprep.sample.rig import Rig
from wanprep.sample.surface import Box

EYE_X, EYE_Y = 3.1, 0.45
NECK_ROOT_3 = (0.0, 0.5, -2.2)  # in the body's coordinates


def head_field(rig: Rig, pose: FigurePose, *, ears: bool) -> Field:
    """Distance to head and neck in the head's coordinates (cm): eyes at y = 0.45, ears at z = 0."""
    shape = MouthShape.of(pose)
    drop, purse = shape.jaw_drop, pose.mouth_round
    root_3 = rig.head.rotation_33.T @ (rig.body.to_world(np.array(NECK_ROOT_3)) - rig.head.origin_3)
    neck = cone(np.array([0.0, 3.5, -2.0]), root_3, 4.0, 4.4)
    throat = cone(np.array([0.0, 7.5, 0.6]), root_3 + np.array([0.0, 0.0, 1.8]), 2.2, 2.4)
    nose = cone(np.array([0.0, 0.9, 7.55]), np.array([0.0, 4.2, 9.0]), 0.62, 0.92)
    half, forward = shape.half_width, 0.45 * purse
    upper_lip = cone(
        np.array([half, shape.corner_y, 6.55]),
        np.array([0.55, shape.upper_y - 0.12, 7.85 + forward]),
        0.20,
        0.50,
    )
    lower_lip = cone(
        np.array([half - 0.1, shape.corner_y + 0.1, 6.45]),
        np.array([0.25, shape.lower_y + 0.42, 7.5 + forward]),
        0.24,
        0.56,
    )

    features, below = Cones((nose, upper_lip, lower_lip)), Cones((neck, throat))

    def distance(points: Points) -> FloatArray:
        half_points = Points(np.abs(points.x), points.y, points.z)  # both sides are alike
        whole = ellipsoid(half_points, (0.0, -3.4, -1.0), (7.35, 8.9, 8.9))
        whole = melt(whole, ellipsoid(half_points, (0.0, 2.4, 1.6), (6.3, 8.2, 6.6)), 2.6)
        whole = melt(whole, ellipsoid(half_points, (0.0, 6.1 + 0.5 * drop, 2.6), (4.45, 4.6, 5.0)), 2.6)
        whole = melt(whole, sphere(half_points, (0.0, 9.5 + drop, 5.7 - 0.25 * drop), 1.75), 2.4)
        whole = melt(
            whole, ellipsoid(half_points, (0.0, 7.0 + 0.4 * drop, 5.2), (2.9, 2.5 + 0.3 * drop, 2.35)), 1.8
        )
        whole = carve(whole, sphere(half_points, (EYE_X + 0.1, EYE_Y - 0.1, 10.0), 2.75), 2.2)
        whole = melt(whole, sphere(half_points, (EYE_X, EYE_Y, 5.95), 1.75), 0.7)
        whole = melt(whole, sphere(half_points, (3.25, 4.0 - 0.4 * pose.smile, 4.9), 2.4), 2.0)
        nose_N, upper_N, lower_N = features.distances(half_points)
        whole = melt(whole, nose_N, 1.3)
        whole = melt(whole, sphere(half_points, (0.0, 4.2, 9.1), 0.98), 0.5)
        whole = melt(whole, sphere(half_points, (1.0, 4.55, 8.25), 0.72), 0.55)
        whole = melt(whole, upper_N, 0.45)
        whole = melt(whole, lower_N, 0.5)
        if ears:
            ear = ellipsoid(half_points, (7.15, 1.6, -1.0), (0.8, 2.5, 1.7))
            whole = melt(
                whole, carve(ear, ellipsoid(half_points, (7.9, 1.4, -0.6), (0.6, 1.6, 0.9)), 0.3), 0.7
            )
        neck_N, throat_N = below.distances(points)
        whole = melt(whole, melt(neck_N, throat_N, 2.5), 1.6)
        return np.asarray(0.93 * whole)

    return distance


def neck_shelter(world: Points, rig: Rig) -> FloatArray:
    """How much the jaw keeps the light off a point below it, 0..1, shape (N,)."""
    _, down_3, out_3 = rig.head.rotation_33.T
    ox, oy, oz = (float(value) for value in rig.head.origin_3)
    px, py, pz = world.x - ox, world.y - oy, world.z - oz
    below = float(down_3[0]) * px + float(down_3[1]) * py + float(down_3[2]) * pz
    front = float(out_3[0]) * px + float(out_3[1]) * py + float(out_3[2]) * pz
    return np.asarray(ramp(below, 6.5, 10.0) * ramp(front, 6.0, 3.6) * ramp(below, 20.0, 10.5))


def head_box(rig: Rig) -> Box:
    """World bounds of head and neck."""
    x, y, z = (float(value) for value in rig.head.origin_3)
    return Box((x - 11, y - 15, z - 12), (x + 11, y + 22, z + 14))

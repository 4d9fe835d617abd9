"""Hair as one soft volume with combed strands: a side-parted bob or a short swept cut."""

from __future__ import annotations

import numpy as np

from wanprep.sample.field import Field, FloatArray, Points, carve, cone, ellipsoid, melt, ramp, within
from wanprep.sample.look import HairStyle, Look
from wanprep.sample.rig import Rig
from wanprep.sample.shading import WINDOW_3, Ball, Material, flat, light_surface
from wanprep.sample.surface import Box, Surface

HAIR = Material(wrap=0.2, gloss=0.0, rim=0.9)


def _tilted(points: Points, degrees: float) -> Points:
    """The points turned in the picture's plane, so that an upright tool cuts at a slant."""
    cosine, sine = float(np.cos(np.deg2rad(degrees))), float(np.sin(np.deg2rad(degrees)))
    return Points(points.x * cosine + points.y * sine, points.y * cosine - points.x * sine, points.z)


def _bob() -> Field:
    part = cone(np.array([2.6, -12.3, 5.6]), np.array([2.2, -14.1, -3.0]), 0.35, 0.35)

    def distance(points: Points) -> FloatArray:
        ragged = 0.13 * np.sin(3.4 * _across(points))
        whole = ellipsoid(points, (0.0, -4.0, -1.2), (8.5, 9.7, 9.5))
        whole = melt(whole, ellipsoid(points, (0.0, 3.2, -1.6), (8.8, 11.0, 7.4)), 3.0)
        opening = ellipsoid(_tilted(points, -11.0), (0.25, 4.4, 9.3), (6.35, 12.6, 9.8))
        whole = carve(whole, opening + ragged, 0.5)
        whole = -melt(-whole, 9.6 - points.y + 0.12 * points.z + 2 * ragged, 1.2)
        return np.asarray(0.9 * carve(whole, part.distance(points), 0.8))

    return distance


def _short() -> Field:
    def distance(points: Points) -> FloatArray:
        ragged = 0.12 * np.sin(4.1 * _across(points))
        whole = ellipsoid(points, (0.0, -4.2, -1.7), (7.95, 9.2, 9.2))
        crown = ellipsoid(_tilted(points, -7.0), (-0.6, -8.5, 0.5), (7.3, 5.5, 8.5))
        whole = melt(whole, crown, 1.6)
        opening = ellipsoid(_tilted(points, -5.0), (0.0, 5.4, 9.8), (8.7, 12.7, 10.8))
        whole = carve(whole, opening + ragged, 0.4)
        return np.asarray(-0.9 * melt(-whole, 3.2 - points.y + ragged, 1.2))

    return distance


def hair_field(style: HairStyle) -> Field:
    """Distance to the hair in the head's coordinates."""
    return _bob() if style == "bob" else _short()


def _across(points: Points) -> FloatArray:
    """A coordinate that grows across the strands and is constant along them: they arch around the face."""
    around = np.sqrt(points.x * points.x + 0.30 * (points.y - 3) ** 2 + 0.5)
    return np.asarray(0.9 * around - 0.8 * points.z)


def _strands(points: Points) -> FloatArray:
    """Strand pattern, about -1..1."""
    across = _across(points)
    drift = 0.35 * np.sin(0.9 * points.y + 0.4 * points.x)
    pattern = (
        np.sin(2.2 * across + drift)
        + 0.8 * np.sin(5.3 * across + 2 * drift)
        + 0.6 * np.sin(9.1 * across - drift)
    )
    return np.asarray(pattern * (1 / 2.4))


def hair_relief(points: Points) -> FloatArray:
    """How far strands stand out, in cm."""
    return np.asarray(0.10 * _strands(points))


def hair_box(rig: Rig) -> Box:
    """World bounds of the hair."""
    x, y, z = (float(value) for value in rig.head.origin_3)
    return Box((x - 12, y - 16, z - 14), (x + 12, y + 14, z + 11))


def light_hair(surface: Surface, rig: Rig, look: Look, casters: tuple[Ball, ...] = ()) -> FloatArray:
    """Linear colour (3, N): combed hair with the band of light that strands throw.

    The band is that of J. T. Kajiya and T. L. Kay, "Rendering fur with three dimensional textures",
    SIGGRAPH 1989.
    """
    local, normal = surface.local, surface.normal
    strand_N = _strands(local)
    hair_31 = flat(look.hair_rgb)
    tone_N = 0.80 + 0.30 * strand_N - 0.25 * ramp(local.y, 2, 11)
    colour_3N = light_surface(surface, tone_N * hair_31, HAIR, casters)
    around_N = np.sqrt(local.x * local.x + 0.30 * (local.y - 3) ** 2 + 0.5)
    across_3N = np.stack(
        [0.9 * local.x / around_N, 0.27 * (local.y - 3) / around_N, np.full_like(around_N, -0.8)]
    )
    across_3N = rig.head.rotation_33.astype(np.float32) @ across_3N
    along_3N = np.cross(np.stack(normal), across_3N, axis=0)
    along_3N /= np.linalg.norm(along_3N, axis=0) + 1e-6
    halfway_3 = np.array([WINDOW_3[0] * 0.75, WINDOW_3[1] * 1.3, WINDOW_3[2] + 0.8])
    halfway_3 /= np.linalg.norm(halfway_3)
    tilt_N = halfway_3.astype(np.float32) @ along_3N + 0.10 * strand_N
    facing_N = within(normal.z * 0.6 - normal.y * 0.5 - normal.x * 0.25)
    band_N = within(1 - tilt_N * tilt_N) ** 24 * facing_N * (0.6 + 0.4 * strand_N) * surface.open_N
    return colour_3N + band_N * (0.55 * hair_31 + 0.06)

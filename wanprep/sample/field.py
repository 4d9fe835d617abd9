"""Signed distance fields in centimetres: negative inside, and how two of them melt together.

The distance formulas are those of J. C. Hart, "Sphere tracing", The Visual Computer 12, 1996, and of the
solids' own geometry; every function takes and returns float32 arrays of shape (N,), one entry a point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]


class Points(NamedTuple):
    """N points, one array for each axis: x to the picture's right, y down, z towards the viewer."""

    x: FloatArray
    y: FloatArray
    z: FloatArray


Field = Callable[[Points], FloatArray]


def within(value: FloatArray) -> FloatArray:
    """The values limited to 0..1; np.clip does the same at several times the cost on short arrays."""
    return np.asarray(np.minimum(np.maximum(value, 0), 1))


@dataclass(frozen=True)
class RoundCone:
    """A capsule whose radius changes evenly from one end to the other."""

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    start_radius: float
    end_radius: float

    def scaled(self, size: float) -> RoundCone:
        """The cone `size` times as large, about the origin."""
        (ax, ay, az), (bx, by, bz) = self.start, self.end
        return RoundCone(
            (ax * size, ay * size, az * size),
            (bx * size, by * size, bz * size),
            self.start_radius * size,
            self.end_radius * size,
        )

    def distance(self, points: Points) -> FloatArray:
        """Distance to the surface; off by the taper's slope only, which is small for limbs."""
        (ax, ay, az), (bx, by, bz) = self.start, self.end
        dx, dy, dz = bx - ax, by - ay, bz - az
        squared = dx * dx + dy * dy + dz * dz + 1e-9
        px, py, pz = points.x - ax, points.y - ay, points.z - az
        along = within(px * (dx / squared) + py * (dy / squared) + pz * (dz / squared))
        px -= along * dx
        py -= along * dy
        pz -= along * dz
        gap = np.sqrt(px * px + py * py + pz * pz)
        return np.asarray(gap - (along * (self.end_radius - self.start_radius) + self.start_radius))


def cone(start: Vector, end: Vector, start_radius: float, end_radius: float) -> RoundCone:
    """A RoundCone from array endpoints of shape (3,)."""
    ax, ay, az = (float(value) for value in start)
    bx, by, bz = (float(value) for value in end)
    return RoundCone((ax, ay, az), (bx, by, bz), start_radius, end_radius)


class Cones:
    """Many round cones measured at once: one matrix product instead of a pass for each."""

    def __init__(self, parts: tuple[RoundCone, ...]) -> None:
        """Keep what does not depend on the points."""
        start_P3 = np.array([part.start for part in parts], np.float32)
        along_P3 = np.array([part.end for part in parts], np.float32) - start_P3
        squared_P = np.square(along_P3).sum(1) + 1e-9
        self._axis_P3 = along_P3 / squared_P[:, None]
        self._axis_offset_P1 = (start_P3 * self._axis_P3).sum(1)[:, None]
        self._start_P3 = 2 * start_P3
        self._start_squared_P1 = np.square(start_P3).sum(1)[:, None]
        self._squared_P1 = squared_P[:, None]
        self._radius_P1 = np.array([part.start_radius for part in parts], np.float32)[:, None]
        self._taper_P1 = np.array([part.end_radius - part.start_radius for part in parts], np.float32)[
            :, None
        ]

    def distances(self, points: Points) -> FloatArray:
        """Distance of every point to every cone, float32 of shape (parts, N)."""
        points_3N = np.stack(points)
        along_PN = self._axis_P3 @ points_3N
        along_PN -= self._axis_offset_P1
        gap_PN = self._start_squared_P1 - self._start_P3 @ points_3N
        gap_PN += np.square(points_3N).sum(0)
        place_PN = within(along_PN)
        along_PN *= 2
        along_PN -= place_PN
        along_PN *= place_PN
        along_PN *= self._squared_P1
        gap_PN -= along_PN
        np.sqrt(np.maximum(gap_PN, 0, out=gap_PN), out=gap_PN)
        place_PN *= self._taper_P1
        gap_PN -= place_PN
        gap_PN -= self._radius_P1
        return np.asarray(gap_PN)


def ellipsoid(
    points: Points, centre: tuple[float, float, float], radii: tuple[float, float, float]
) -> FloatArray:
    """Distance to an axis-aligned ellipsoid, exact to first order at its surface."""
    px, py, pz = (
        (points.x - centre[0]) / radii[0],
        (points.y - centre[1]) / radii[1],
        (points.z - centre[2]) / radii[2],
    )
    level = np.sqrt(px * px + py * py + pz * pz)
    px /= radii[0]
    py /= radii[1]
    pz /= radii[2]
    slope = np.sqrt(px * px + py * py + pz * pz)
    return np.asarray(level * (level - 1) / (slope + 1e-6))


def sphere(points: Points, centre: tuple[float, float, float], radius: float) -> FloatArray:
    """Distance to a sphere."""
    px, py, pz = points.x - centre[0], points.y - centre[1], points.z - centre[2]
    return np.asarray(np.sqrt(px * px + py * py + pz * pz) - radius)


def melt(first: FloatArray, second: FloatArray, width: float) -> FloatArray:
    """Union of two solids with a fillet about `width` cm wide where they meet."""
    overlap = np.maximum(width - np.abs(first - second), 0)
    return np.asarray(np.minimum(first, second) - overlap * overlap * (0.25 / width))


def carve(solid: FloatArray, tool: FloatArray, width: float) -> FloatArray:
    """`solid` with `tool` taken out of it, the new edge rounded over about `width` cm."""
    return -melt(-solid, tool, width)


def ramp(value: FloatArray, low: float | FloatArray, high: float | FloatArray) -> FloatArray:
    """Smooth step from 0 at `low` to 1 at `high` (`low` may be the larger one)."""
    place = within((value - low) * (1 / (high - low)))
    return np.asarray(place * place * (3 - 2 * place))


def bump(value: FloatArray, centre: float, width: float) -> FloatArray:
    """A Gaussian of height 1."""
    place = (value - centre) * (1 / width)
    return np.asarray(np.exp(-place * place))

"""Finds the visible surface of a distance field: sphere tracing, coarse cells first, then pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from wanprep.sample.field import Field, FloatArray, Points, Vector

CELL = 4  # px; a coarse ray a 4x4 cell costs a sixteenth and leaves the fine rays few steps to go
BLOCK = 2048  # cells traced together, so that the work stays in the processor's cache
MOST_STEPS = 15


@dataclass(frozen=True)
class View:
    """An orthographic camera: where the world's origin lies in the picture, and its scale."""

    width: int
    height: int
    pixels_per_cm: float
    origin_x: float
    origin_y: float


@dataclass(frozen=True)
class Axes:
    """A part's coordinates: `origin_3` in the world, `rotation_33` from part to world (columns: axes)."""

    origin_3: Vector
    rotation_33: Vector

    def to_world(self, point_3: Vector) -> Vector:
        """World position of a point given in the part's coordinates."""
        return np.asarray(self.origin_3 + self.rotation_33 @ point_3)


WORLD = Axes(np.zeros(3), np.eye(3))


@dataclass(frozen=True)
class Box:
    """World-space bounds of a part, in cm."""

    low_3: tuple[float, float, float]
    high_3: tuple[float, float, float]

    @classmethod
    def around(cls, points_K3: Vector, margin_cm: float) -> Box:
        """The box that holds points with a margin."""
        low, high = points_K3.min(0) - margin_cm, points_K3.max(0) + margin_cm
        return cls(
            (float(low[0]), float(low[1]), float(low[2])), (float(high[0]), float(high[1]), float(high[2]))
        )


@dataclass(frozen=True)
class Surface:
    """The visible points of one part.

    `pixel_N`: flat index in the picture; `local` and `world`: positions in the part's and the world's
    coordinates; `normal`: unit, world; `cover_N`: share of the pixel that is covered, 0..1; `open_N`: how
    open the surroundings are, 0 in a crease to 1 in the open.
    """

    pixel_N: npt.NDArray[np.int64]
    local: Points
    world: Points
    normal: Points
    cover_N: FloatArray
    open_N: FloatArray


def _march(
    field: Field,
    base: Points,
    ray_3: Vector,
    depth_N: FloatArray,
    back_cm: float,
    close_cm: float,
    near_cm: float,
) -> tuple[FloatArray, FloatArray]:
    """Depth and distance at each ray's closest approach.

    A ray ends within `close_cm` of the surface or past the back. Within `near_cm` of the surface rays take
    longer steps than the distance alone allows.
    """
    rx, ry, rz = (float(value) for value in ray_3)
    least_cm = 8 * close_cm
    best_N = np.full(depth_N.shape, np.inf, np.float32)
    best_depth_N = depth_N.copy()
    going = np.arange(depth_N.size)
    bx, by, bz = base
    last_gap_N, last_step_N = depth_N, depth_N
    for step in range(MOST_STEPS):
        gap_N = field(Points(bx + depth_N * rx, by + depth_N * ry, bz + depth_N * rz))
        size_N = np.abs(gap_N)
        nearer = np.flatnonzero(size_N < np.abs(best_N[going]))
        best_N[going[nearer]] = gap_N[nearer]
        best_depth_N[going[nearer]] = depth_N[nearer]
        if step:
            # How fast the gap closed tells how obliquely the ray meets the surface: step further by as much.
            slope_N = (last_gap_N - gap_N) / (last_step_N + 1e-6)
            step_N = gap_N / np.where(gap_N < near_cm, np.minimum(np.maximum(slope_N, 0.5), 1), 1)
        else:
            step_N = gap_N
        # A ray that grazes a rim would creep along it; a smallest step, growing, takes it past.
        step_N = np.where(gap_N > close_cm, np.maximum(step_N, least_cm), step_N)
        depth_N = depth_N - step_N
        last_gap_N, last_step_N = gap_N, step_N
        if step > 1:
            kept = np.flatnonzero((size_N > close_cm) & (depth_N > back_cm))
            if kept.size == 0:
                break
            if kept.size < 0.8 * going.size:
                going, depth_N, bx, by, bz = going[kept], depth_N[kept], bx[kept], by[kept], bz[kept]
                last_gap_N, last_step_N = last_gap_N[kept], last_step_N[kept]
    return best_depth_N, best_N


def _ray_bases(x_N: FloatArray, y_N: FloatArray, axes: Axes) -> Points:
    """Where each ray crosses the world's plane z = 0, in the part's coordinates."""
    turn = axes.rotation_33.T
    ox, oy, oz = (float(value) for value in turn @ axes.origin_3)
    return Points(
        *(
            float(turn[row, 0]) * x_N + float(turn[row, 1]) * y_N - offset
            for row, offset in zip(range(3), (ox, oy, oz), strict=True)
        )
    )


def _gradient(field: Field, points: Points, here_N: FloatArray, step: float) -> Points:
    """Unit normals from the distance at the points (`here_N`) and a step along each axis."""
    x, y, z = points
    nx = field(Points(x + step, y, z)) - here_N
    ny = field(Points(x, y + step, z)) - here_N
    nz = field(Points(x, y, z + step)) - here_N
    length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
    return Points(nx / length, ny / length, nz / length)


def _to_world(normal: Points, axes: Axes) -> Points:
    """Directions turned from a part's coordinates into the world's."""
    return Points(
        *(
            float(row[0]) * normal.x + float(row[1]) * normal.y + float(row[2]) * normal.z
            for row in axes.rotation_33
        )
    )


def _embossed(normal: Points, relief: Field, points: Points, step: float) -> Points:
    """Normals of a surface that stands out by `relief`."""
    x, y, z = points
    here = relief(points)
    nx = normal.x - (relief(Points(x + step, y, z)) - here) / step
    ny = normal.y - (relief(Points(x, y + step, z)) - here) / step
    nz = normal.z - (relief(Points(x, y, z + step)) - here) / step
    length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-6
    return Points(nx / length, ny / length, nz / length)


def find_surface(
    field: Field,
    view: View,
    box: Box,
    axes: Axes = WORLD,
    reach_cm: float = 1.2,
    relief: Field | None = None,
) -> Iterator[Surface]:
    """The visible points of `field` (given in the coordinates of `axes`), a block at a time.

    `reach_cm` is how far the crease darkening looks. `relief` is detail in cm that stands out of the field:
    it bends the light but not the outline, which makes it cheap.
    """
    scale = view.pixels_per_cm
    left = max(0, int(np.floor(view.origin_x + box.low_3[0] * scale)))
    top = max(0, int(np.floor(view.origin_y + box.low_3[1] * scale)))
    columns = (min(view.width, int(np.ceil(view.origin_x + box.high_3[0] * scale))) - left + CELL - 1) // CELL
    rows = (min(view.height, int(np.ceil(view.origin_y + box.high_3[1] * scale))) - top + CELL - 1) // CELL
    if columns <= 0 or rows <= 0:
        return
    ray_3, back_cm = axes.rotation_33.T[:, 2], box.low_3[2]

    cell_row, cell_column = np.indices((rows, columns), np.int32).reshape(2, -1)
    x_C = ((left + CELL * cell_column + CELL / 2 - view.origin_x) / scale).astype(np.float32)
    y_C = ((top + CELL * cell_row + CELL / 2 - view.origin_y) / scale).astype(np.float32)
    front_C = np.full(x_C.shape, box.high_3[2], np.float32)
    depth_C, gap_C = _march(field, _ray_bases(x_C, y_C, axes), ray_3, front_C, back_cm, 0.3 / scale, 0.0)
    hit_C = gap_C < (0.75 * CELL + 1.5) / scale
    start_CC = np.where(hit_C, depth_C, -1e3).astype(np.float32).reshape(rows, columns)
    start_C = cv2.dilate(
        start_CC, np.ones((3, 3), np.uint8)
    ).ravel()  # begin in front of what a neighbour saw first

    cells = np.flatnonzero(hit_C)
    inner_row, inner_column = np.indices((CELL, CELL), np.int32).reshape(2, -1)
    for first in range(0, cells.size, BLOCK):
        block = cells[first : first + BLOCK]
        row_N = (top + CELL * cell_row[block][:, None] + inner_row).ravel()
        column_N = (left + CELL * cell_column[block][:, None] + inner_column).ravel()
        depth_N = np.repeat(start_C[block], CELL * CELL)
        if row_N.max() >= view.height or column_N.max() >= view.width:
            inside = (row_N < view.height) & (column_N < view.width)
            row_N, column_N, depth_N = row_N[inside], column_N[inside], depth_N[inside]
        x_N = ((column_N + 0.5 - view.origin_x) / scale).astype(np.float32)
        y_N = ((row_N + 0.5 - view.origin_y) / scale).astype(np.float32)
        base = _ray_bases(x_N, y_N, axes)
        depth_N, gap_N = _march(field, base, ray_3, depth_N, back_cm, 0.1 / scale, 3 / scale)
        cover_N = np.clip(1.15 - gap_N * scale, 0, 1)
        kept = np.flatnonzero(cover_N > 0.01)
        if kept.size == 0:
            continue
        x_N, y_N, depth_N = x_N[kept], y_N[kept], depth_N[kept]
        local = Points(
            *(start[kept] + depth_N * float(step) for start, step in zip(base, ray_3, strict=True))
        )
        normal = _gradient(field, local, gap_N[kept], 0.8 / scale)
        lifted_N = field(Points(*(place + reach_cm * out for place, out in zip(local, normal, strict=True))))
        if relief is not None:
            normal = _embossed(normal, relief, local, 0.5 / scale)
        yield Surface(
            pixel_N=row_N[kept].astype(np.int64) * view.width + column_N[kept],
            local=local,
            world=Points(x_N, y_N, depth_N),
            normal=_to_world(normal, axes),
            cover_N=cover_N[kept],
            open_N=np.clip(lifted_N / reach_cm, 0, 1),
        )

"""Light on surfaces: a warm window, cool room light, a lamp from behind, and a canvas that keeps depth.

Colours are linear here (display value squared), so that light adds up as it does in a room.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from wanprep.sample.field import FloatArray, Points, within
from wanprep.sample.surface import Surface, View

WINDOW_3 = (-0.62, -0.48, 0.62)  # unit vectors towards the lights; x right, y down, z to the viewer
FILL_3 = (0.72, -0.10, 0.69)
LAMP_3 = (0.80, -0.36, -0.48)
WINDOW_RGB = (1.08, 1.00, 0.88)
FILL_RGB = (0.20, 0.23, 0.28)
LAMP_RGB = (0.95, 0.66, 0.36)
RIM_CM = 0.8  # a deeper step than this between neighbouring pixels is a rim, not a slope
SKY_RGB = (0.36, 0.38, 0.42)
FLOOR_RGB = (0.24, 0.19, 0.15)


@dataclass(frozen=True)
class Ball:
    """A round stand-in for a part that throws a shadow on others: world centre and radius in cm."""

    centre: tuple[float, float, float]
    radius: float


@dataclass(frozen=True)
class Material:
    """How a surface answers light: `wrap` softens the shadow's edge, `gloss` is the highlight's strength."""

    wrap: float = 0.15
    gloss: float = 0.04
    sharpness: float = 18.0
    rim: float = 0.35
    bleed: float = 0.0  # red light that leaks past the shadow's edge, as under skin


SKIN = Material(wrap=0.32, gloss=0.10, sharpness=22.0, rim=0.45, bleed=0.16)
WOOL = Material(wrap=0.25, gloss=0.0, rim=0.55)


def linear(colour: tuple[float, float, float] | npt.NDArray[np.float64]) -> FloatArray:
    """Linear float32 RGB of a display colour in 0..255."""
    return np.asarray(np.square(np.asarray(colour, np.float32) / 255))


def flat(colour: tuple[float, float, float]) -> FloatArray:
    """Linear RGB of a display colour as a column of shape (3, 1), to be spread over points."""
    return linear(colour)[:, None]


def tint(red: float, green: float, blue: float) -> FloatArray:
    """Factors for the three bands, a column of shape (3, 1)."""
    return np.array([[red], [green], [blue]], np.float32)


def mix(first_3N: FloatArray, second_3N: FloatArray, share_N: FloatArray) -> FloatArray:
    """`first` where the share is 0, `second` where it is 1; colours of shape (3, N) or (3, 1)."""
    return np.asarray(first_3N + (second_3N - first_3N) * share_N)


def _towards(normal: Points, light_3: tuple[float, float, float]) -> FloatArray:
    return np.asarray(normal.x * light_3[0] + normal.y * light_3[1] + normal.z * light_3[2])


def window_light(world: Points, casters: tuple[Ball, ...]) -> FloatArray:
    """Share of the window's light that gets past the casters, 0..1, with soft edges; shape (N,)."""
    share_N = np.ones_like(world.x)
    lx, ly, lz = WINDOW_3
    for ball in casters:
        ox, oy, oz = world.x - ball.centre[0], world.y - ball.centre[1], world.z - ball.centre[2]
        along_N = -(ox * lx + oy * ly + oz * lz)
        miss_N = np.sqrt(np.maximum(ox * ox + oy * oy + oz * oz - along_N * along_N, 0)) - ball.radius
        # The window is wide: the further the caster, the softer its shadow.
        soft_N = within(0.5 + miss_N / np.maximum(0.7 * along_N, 0.8))
        soft_N = soft_N * soft_N * (3 - 2 * soft_N)
        share_N = np.minimum(share_N, np.where(along_N > ball.radius * 0.5, soft_N, 1))
    return share_N


def light_surface(
    surface: Surface, albedo_3N: FloatArray, material: Material, casters: tuple[Ball, ...] = ()
) -> FloatArray:
    """Linear colour of each point, float32 of shape (3, N), about 0..1 and a little over in highlights."""
    normal = surface.normal
    lit_N = window_light(surface.world, casters) if casters else np.ones_like(normal.x)
    facing_N = _towards(normal, WINDOW_3)
    key_N = within((facing_N + material.wrap) / (1 + material.wrap)) * lit_N
    fill_N = within(_towards(normal, FILL_3))
    lamp_N = within(_towards(normal, LAMP_3))
    edge_N = np.square(1 - np.minimum(np.abs(normal.z), 1))
    upward_N = 0.5 - 0.5 * normal.y
    shade_N = 0.25 + 0.75 * surface.open_N
    halfway_N = within(0.9 * (facing_N * 0.55 + normal.z * 0.55)) ** material.sharpness
    colour_3N = np.empty_like(albedo_3N)
    for band in range(3):
        leak = material.bleed * (1.0, 0.25, 0.12)[band]
        light_N = WINDOW_RGB[band] * (
            key_N * (0.35 + 0.65 * shade_N) + leak * within(1 - np.abs(facing_N) * 2.5)
        )
        light_N += shade_N * (
            FILL_RGB[band] * fill_N + FLOOR_RGB[band] + (SKY_RGB[band] - FLOOR_RGB[band]) * upward_N
        )
        light_N += LAMP_RGB[band] * material.rim * lamp_N * (0.25 + 1.5 * edge_N) * shade_N
        colour_3N[band] = albedo_3N[band] * light_N
        if material.gloss:
            colour_3N[band] += material.gloss * WINDOW_RGB[band] * halfway_N * lit_N * shade_N
    return colour_3N


class Canvas:
    """Linear colour, cover and depth of everything painted so far, over a transparent ground."""

    def __init__(self, view: View) -> None:
        """Start empty: `colour_3P` (3, pixels) premultiplied, `cover_P` 0..1, `depth_P` in cm."""
        self.view = view
        pixels = view.width * view.height
        self.colour_3P = np.zeros((3, pixels), np.float32)
        self.cover_P = np.zeros(pixels, np.float32)
        self.depth_P = np.full(pixels, -1e3, np.float32)

    def paint(self, surface: Surface, colour_3N: FloatArray, bias_cm: float = 0.0) -> None:
        """Lay a part over the picture wherever it is nearer than what is there (`bias_cm` favours it)."""
        pixel_N = surface.pixel_N
        behind_N = self.depth_P[pixel_N]
        # Depth test with a soft edge, so that two parts that run into each other meet without stair steps.
        front_N = within((surface.world.z + bias_cm - behind_N) * 8 + 0.5)
        share_N = surface.cover_N * front_N
        for band_P, band_N in zip(self.colour_3P, colour_3N, strict=True):
            before_N = band_P[pixel_N]
            band_P[pixel_N] = before_N + (band_N - before_N) * share_N
        self.cover_P[pixel_N] = self.cover_P[pixel_N] * (1 - share_N) + share_N
        self.depth_P[pixel_N] = np.where(share_N > 0.5, surface.world.z, behind_N)

    def soften_steps(self) -> None:
        """Smooth the stair steps where one part stands before another; the outer edge is smooth already."""
        shape = (self.view.height, self.view.width)
        depth_HW, cover_HW = self.depth_P.reshape(shape), self.cover_P.reshape(shape)
        around = np.ones((3, 3), np.uint8)
        step_HW = cv2.dilate(depth_HW, around) - cv2.erode(depth_HW, around)
        rim = np.flatnonzero((step_HW > RIM_CM) & (cv2.erode(cover_HW, around) > 0.99))
        for band_P in self.colour_3P:
            band_P[rim] = cv2.GaussianBlur(band_P.reshape(shape), (3, 3), 0.62).ravel()[rim]

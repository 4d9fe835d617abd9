"""The room behind the figure: a wall in window light, a window, shelves, plants and a lamp, out of focus."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from wanprep.sample.field import FloatArray
from wanprep.sample.shading import linear

Spot = tuple[float, float]  # x, y in picture heights from the top left, so that furniture keeps its shape

WALLS = ((196, 184, 168), (176, 190, 186), (206, 188, 172), (182, 184, 198))
BOOKS = (
    (168, 74, 60),
    (58, 92, 108),
    (214, 190, 148),
    (92, 110, 84),
    (190, 140, 76),
    (72, 66, 82),
    (226, 218, 204),
)
WOOD = (122, 82, 52)
LEAF = (62, 104, 62)


def _blurred(picture: FloatArray, sigma: float) -> FloatArray:
    """Gaussian blur; `sigma` in pixels."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)


@dataclass
class _Easel:
    """A linear RGB picture and how many pixels a picture height takes."""

    picture_HWC: FloatArray
    unit: float

    def fill(self, corners: list[Spot], colour_3: FloatArray, strength: float = 1.0) -> None:
        """Fill a polygon."""
        height, width = self.picture_HWC.shape[:2]
        points_K2 = np.array(corners) * self.unit
        left, top = (max(0, int(edge) - 2) for edge in points_K2.min(0))
        right, bottom = (
            min(most, int(edge) + 3) for most, edge in zip((width, height), points_K2.max(0), strict=True)
        )
        if left >= right or top >= bottom:
            return
        mask_HW = np.zeros((bottom - top, right - left), np.uint8)
        sixteenths = np.round((points_K2 - [left, top]) * 16).astype(np.int32)
        cv2.fillPoly(mask_HW, [sixteenths], (255.0,), cv2.LINE_AA, 4)
        share_HW1 = mask_HW[..., None] * np.float32(strength / 255)
        self.picture_HWC[top:bottom, left:right] += (
            colour_3 - self.picture_HWC[top:bottom, left:right]
        ) * share_HW1

    def box(self, left: float, top: float, right: float, bottom: float, colour_3: FloatArray) -> None:
        """Fill an upright rectangle."""
        self.fill([(left, top), (right, top), (right, bottom), (left, bottom)], colour_3)

    def glow(self, centre: Spot, radius: float, colour_3: FloatArray) -> None:
        """Add a soft round light."""
        height, width = self.picture_HWC.shape[:2]
        y_H1, x_1W = np.ogrid[:height, :width]
        squared = ((x_1W / self.unit - centre[0]) ** 2 + (y_H1 / self.unit - centre[1]) ** 2) / radius**2
        self.picture_HWC += np.exp(-squared).astype(np.float32)[..., None] * colour_3

    def soften(self, radius: float) -> None:
        """Blur the whole picture; `radius` in picture heights."""
        self.picture_HWC = _blurred(self.picture_HWC, max(0.5, radius * self.unit))


def _disc(centre: Spot, radius: float) -> list[Spot]:
    """Corners of a round shape."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return [
        (centre[0] + radius * float(np.cos(angle)), centre[1] + radius * float(np.sin(angle)))
        for angle in angles
    ]


def _window(easel: _Easel, left: float, random: np.random.Generator) -> None:
    """A tall window with a garden behind it and a sheer curtain at its side."""
    top, right, bottom = 0.02, left + 0.44, 0.70
    easel.box(left - 0.03, top - 0.05, right + 0.03, bottom + 0.03, linear((226, 220, 210)))
    for step in range(24):
        share = step / 24
        low = top + (bottom - top) * share
        sky_3 = linear((206, 226, 242)) * (1.25 - 0.35 * share)
        easel.box(left, low, right, low + (bottom - top) / 24 + 0.004, sky_3)
    for index in range(150):  # trees, as discs of light and shade, the nearer ones lower and darker
        near = index / 150
        x, y = random.uniform(left, right), random.uniform(0.30 + 0.22 * near, 0.44 + 0.30 * near)
        green_3 = linear((150, 178, 132)) * (1.25 - 0.75 * near) * random.uniform(0.75, 1.25)
        size = random.uniform(0.018, 0.045)
        corners = [(min(right, max(left, cx)), min(bottom, max(top, cy))) for cx, cy in _disc((x, y), size)]
        easel.fill(corners, green_3.astype(np.float32), 0.7)
    frame_3 = linear((236, 230, 220))
    easel.box((left + right) / 2 - 0.012, top, (left + right) / 2 + 0.012, bottom, frame_3)
    easel.box(left, 0.27, right, 0.288, frame_3)
    easel.box(left - 0.05, bottom + 0.01, right + 0.05, bottom + 0.045, frame_3 * 0.9)
    for fold in range(9):
        x = right - 0.10 + 0.022 * fold
        easel.fill(
            [(x, -0.02), (x + 0.024, -0.02), (x + 0.030, 0.86), (x - 0.004, 0.86)],
            linear((236, 226, 208)) * (0.95 if fold % 2 else 0.68),
            0.82,
        )


def _shelves(easel: _Easel, left: float, random: np.random.Generator) -> None:
    """Two boards with books, a vase and a trailing plant."""
    right = left + 0.46
    for board in (0.26, 0.50):
        easel.box(left + 0.012, board + 0.028, right + 0.02, board + 0.06, linear((96, 84, 74)))
        x = left + random.uniform(0.02, 0.05)
        while x < right - 0.16:
            width, height = random.uniform(0.016, 0.030), random.uniform(0.085, 0.15)
            colour_3 = linear(BOOKS[int(random.integers(len(BOOKS)))])
            easel.box(x, board - height, x + width, board, colour_3)
            easel.box(x, board - 0.8 * height, x + width, board - 0.72 * height, colour_3 * 0.6 + 0.12)
            x += width + 0.002
        if board > 0.3:
            vase = [
                (x + 0.05, board),
                (x + 0.035, board - 0.05),
                (x + 0.06, board - 0.11),
                (x + 0.085, board - 0.11),
            ]
            vase += [(x + 0.11, board - 0.05), (x + 0.095, board)]
            easel.fill(vase, linear((214, 170, 140)))
        else:
            _plant(easel, (x + 0.07, board), 0.16, 12, random)
        easel.box(left, board, right, board + 0.028, linear(WOOD))
        easel.box(left, board, right, board + 0.006, linear(WOOD) * 1.9)


def _leaf(easel: _Easel, root: Spot, angle: float, length: float, colour_3: FloatArray) -> None:
    """A pointed leaf."""
    along = np.linspace(0, 1, 9)
    wide = 0.16 * np.sin(np.pi * along**0.8)
    bend = angle + 0.5 * along * np.sign(np.cos(angle)) * abs(np.cos(angle))
    x, y = root[0] + length * along * np.cos(bend), root[1] + length * along * np.sin(bend)
    side_x, side_y = -np.sin(bend) * wide * length, np.cos(bend) * wide * length
    corners = [
        *zip(x + side_x, y + side_y, strict=True),
        *zip((x - side_x)[::-1], (y - side_y)[::-1], strict=True),
    ]
    easel.fill([(float(cx), float(cy)) for cx, cy in corners], colour_3)


def _plant(easel: _Easel, foot: Spot, size: float, leaves: int, random: np.random.Generator) -> None:
    """A pot with a fan of leaves."""
    x, y = foot
    crown = (x, y - 0.36 * size)
    for leaf in range(leaves):
        angle = -np.pi / 2 + (leaf / (leaves - 1) - 0.5) * 2.7 + random.uniform(-0.12, 0.12)
        tone = random.uniform(0.55, 1.5) * (1.25 if np.cos(angle) < 0 else 0.8)
        _leaf(easel, crown, angle, size * random.uniform(0.7, 1.15), (linear(LEAF) * tone).astype(np.float32))
    pot = [
        (x - 0.22 * size, crown[1]),
        (x + 0.22 * size, crown[1]),
        (x + 0.16 * size, y),
        (x - 0.16 * size, y),
    ]
    easel.fill(pot, linear((206, 128, 92)))
    easel.fill([pot[0], (x - 0.08 * size, crown[1]), (x - 0.07 * size, y), pot[3]], linear((232, 160, 122)))


def _picture(easel: _Easel, left: float, top: float, random: np.random.Generator) -> None:
    """A framed print of hills under a sun."""
    right, bottom = left + 0.20, top + 0.26
    easel.box(left + 0.012, top + 0.014, right + 0.016, bottom + 0.02, linear((120, 108, 98)))
    easel.box(left, top, right, bottom, linear((92, 64, 44)))
    easel.box(left + 0.012, top + 0.012, right - 0.012, bottom - 0.012, linear((238, 230, 214)))
    inner = (left + 0.03, top + 0.035, right - 0.03, bottom - 0.035)
    easel.box(*inner, linear((236, 196, 150)))
    sun = (inner[0] + 0.095, inner[1] + 0.06)
    easel.fill(_disc(sun, 0.026), linear((216, 104, 72)))
    for layer, colour in enumerate(((132, 150, 140), (84, 116, 112), (46, 78, 82))):
        base = inner[1] + 0.10 + 0.03 * layer
        across = np.linspace(inner[0], inner[2], 9)
        ridge = base + 0.014 * np.sin(across * 55 + random.uniform(0, 6))
        corners = [*zip(across, ridge, strict=True), (inner[2], inner[3]), (inner[0], inner[3])]
        easel.fill([(float(x), float(y)) for x, y in corners], linear(colour))


def _lamp(easel: _Easel, x: float) -> None:
    """A floor lamp with a glowing shade."""
    easel.box(x - 0.006, 0.52, x + 0.006, 1.0, linear((70, 56, 44)))
    shade = [(x - 0.075, 0.36), (x + 0.075, 0.36), (x + 0.11, 0.54), (x - 0.11, 0.54)]
    easel.fill(shade, linear((255, 222, 168)) * 1.15)


def _ground(easel: _Easel, wide: float, random: np.random.Generator) -> None:
    """A low cabinet along the wall with a big plant on it."""
    easel.box(-0.1, 0.86, wide + 0.1, 1.1, linear((98, 68, 46)))
    easel.box(-0.1, 0.855, wide + 0.1, 0.872, linear((164, 120, 82)))
    for x in np.arange(0.18, wide, 0.42):
        easel.box(float(x) - 0.004, 0.885, float(x) + 0.004, 1.1, linear((66, 45, 32)))


def draw_room(size: tuple[int, int], seed: int) -> FloatArray:
    """The room as linear RGB, float32 of shape (height, width, 3), 0..1; the same seed, the same room."""
    width, height = size
    random = np.random.default_rng([seed, 2])
    wide = width / height
    wall_3 = linear(WALLS[seed % len(WALLS)])
    y_H1, x_1W = np.ogrid[:height, :width]
    x_1W, y_H1 = x_1W / height, y_H1 / height
    falloff_HW = (1.12 - 0.42 * x_1W / wide - 0.22 * y_H1).astype(np.float32)
    easel = _Easel(falloff_HW[..., None] * wall_3, float(height))
    # The window's light lies on the wall as two slanted patches.
    share_HW = np.zeros((height, width), np.float32)
    for shift in (0.0, 0.17):
        corners_K2 = np.array([(0.62, 0.10), (0.76, 0.06), (0.90, 0.60), (0.76, 0.66)])
        corners_K2[:, 0] += shift + 0.3 * (wide - 1.73)
        cv2.fillPoly(share_HW, [np.round(corners_K2 * height).astype(np.int32)], (1.0,))
    share_HW = _blurred(share_HW, 0.022 * height)
    easel.picture_HWC *= (1 + 0.30 * share_HW[..., None] * np.array([1.0, 0.93, 0.78], np.float32)).astype(
        np.float32
    )
    _picture(easel, 0.50, 0.13, random)
    _shelves(easel, wide - 0.52, random)
    _lamp(easel, wide - 0.16)
    _ground(easel, wide, random)
    _plant(easel, (0.47, 0.865), 0.34, 15, random)
    _window(easel, -0.08, random)
    easel.soften(0.0085)  # the camera looks at the figure, not at the wall
    easel.glow((0.14, 0.30), 0.42, np.array([0.16, 0.15, 0.12], np.float32))
    easel.glow((wide - 0.16, 0.47), 0.26, np.array([0.26, 0.16, 0.06], np.float32))
    corner_HW = ((x_1W / wide - 0.5) ** 2 + (y_H1 - 0.5) ** 2).astype(np.float32)
    easel.picture_HWC *= (1.02 - 0.75 * corner_HW)[..., None]
    return np.clip(easel.picture_HWC, 0, 1.0)


def display(linear_HWC: FloatArray) -> npt.NDArray[np.uint8]:
    """Display RGB, uint8 (H, W, 3), of a linear picture."""
    return (np.sqrt(np.clip(linear_HWC, 0, 1)) * 255 + 0.5).astype(np.uint8)

"""Parts of a frame shown to an estimator: square crops around a head or a wrist, and tiles of the whole frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from stages.person.coco_wholebody import Points
from stages.person.estimator import Detection, Pixels

#: Side of the crop and its shift down, both in head sizes, widest first. Chosen because the body model's own
#: region comes out right in them where the full frame misleads it (measured on film and studio footage).
BODY_CROPS = ((10.0, 3.6), (8.0, 2.8), (6.0, 2.0), (5.0, 1.6), (4.0, 1.2))


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A picture and where it lies in its frame: corner and size in the frame's pixels."""

    picture_HWC: Pixels
    x: float
    y: float
    width: float
    height: float

    def to_frame(self, normalised_KC: Points) -> Points:
        """Columns x, y, z of landmarks in units of the view (z: its width) to the frame's pixels, in place."""
        normalised_KC[:, 0] = normalised_KC[:, 0] * self.width + self.x
        normalised_KC[:, 1] = normalised_KC[:, 1] * self.height + self.y
        if normalised_KC.shape[1] > 2:
            normalised_KC[:, 2] *= self.width
        return normalised_KC

    @property
    def box_C(self) -> Points:
        return np.array([self.x, self.y, self.x + self.width, self.y + self.height], np.float32)


def whole(frame_HWC: Pixels) -> View:
    height, width = frame_HWC.shape[:2]
    return View(frame_HWC, 0, 0, width, height)


def square(
    frame_HWC: Pixels, centre: tuple[float, float], side: float, *, least: int = 1, most: int = 1 << 14
) -> View:
    """A square around `centre`, black beyond the frame, scaled so that its side lies between `least` and `most`."""
    height, width = frame_HWC.shape[:2]
    side_px = max(2, round(side))
    x, y = round(centre[0] - side_px / 2), round(centre[1] - side_px / 2)
    scale = min(max(1.0, least / side_px), most / side_px)
    shown = max(2, round(side_px * scale))
    picture = np.zeros((shown, shown, 3), np.uint8)
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + side_px, width), min(y + side_px, height)
    if x0 < x1 and y0 < y1:
        part = frame_HWC[y0:y1, x0:x1]
        # Scale only what the frame holds of the square: a crop may be mostly black.
        left, top = round((x0 - x) * scale), round((y0 - y) * scale)
        right = min(shown, max(left + 1, round((x1 - x) * scale)))
        bottom = min(shown, max(top + 1, round((y1 - y) * scale)))
        if scale != 1:
            method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            picture[top:bottom, left:right] = cv2.resize(
                part, (right - left, bottom - top), interpolation=method
            )
        else:
            picture[top:bottom, left:right] = part
    return View(picture, x, y, side_px, side_px)


def tiles(frame_HWC: Pixels) -> list[View]:
    """Squares of the shorter side's size along the longer side, two fifths of a side apart at most: 3 at 16:9.

    So a head up to three fifths of a side is whole in one of them.

    Empty for frames that are nearly square: a tile would show what the whole frame shows.
    """
    height, width = frame_HWC.shape[:2]
    side, long = min(width, height), max(width, height)
    if long < 1.2 * side:
        return []
    count = 1 + int(np.ceil((long - side) / (0.4 * side) - 1e-6))
    views = []
    for i in range(count):
        start = round(i * (long - side) / (count - 1))
        x, y = (start, 0) if width >= height else (0, start)
        views.append(View(np.ascontiguousarray(frame_HWC[y : y + side, x : x + side]), x, y, side, side))
    return views


def merge(groups: Iterable[Iterable[Detection]]) -> list[Detection]:
    """Detections without repeats, best score first: of two whose centres are closer than half the larger one's
    width, the better stays."""
    kept: list[Detection] = []
    for found in sorted((d for group in groups for d in group), key=lambda d: -d.score):
        if not any(near(found, other) for other in kept):
            kept.append(found)
    return kept


def near(a: Detection, b: Detection) -> bool:
    """Whether two detections show one head: centres closer than half the larger width."""
    (ax, ay), (bx, by) = a.centre, b.centre
    return bool(np.hypot(ax - bx, ay - by) < max(a.width, b.width) / 2)

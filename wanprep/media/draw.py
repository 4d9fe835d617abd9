"""Drawing on RGB pictures: the skeleton that conditions Wan2.2-Animate, and overlays for people to look at.

`draw_skeleton` and `draw_body_and_hands` give the pixels of the Wan2.2 official code, which come from
OpenCV's rasteriser with 8-connected lines and no antialiasing; every rounding here is part of that. The
overlays (face points, outlines, boxes, flow) follow no official picture.
"""

import colorsys
import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wanprep.media.wan_body import (
    BODY_POINT_COUNT,
    FACE,
    HAND_EDGES,
    HAND_POINT_COUNT,
    KEYPOINT_COUNT,
    LEFT_HAND,
    LIMBS,
    RIGHT_HAND,
    to_wan_body,
)

Colour = tuple[int, int, int]
Image = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]

# A point is drawn from this confidence on (Wan2.2 official code).
CONFIDENCE_THRESHOLD = 0.5

# One colour a limb and a joint (Wan2.2 official code); the first 18 are OpenPose's hue circle.
BODY_COLOURS: tuple[Colour, ...] = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0),
    (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255),
    (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85), (200, 200, 0), (100, 100, 0),
)  # fmt: skip
# Limbs are 0.6 as bright as their colour so that the joints stand out (Wan2.2 official code).
LIMB_COLOURS: tuple[Colour, ...] = tuple(
    (r * 6 // 10, g * 6 // 10, b * 6 // 10) for r, g, b in BODY_COLOURS[: len(LIMBS)]
)
HAND_POINT_COLOUR: Colour = (0, 0, 255)
FACE_POINT_COLOUR: Colour = (255, 255, 255)

# Further out than any picture reaches; OpenCV would walk every row on the way to such a point.
_COORDINATE_LIMIT = 32767.0
# Fractional bits of the coordinates handed to the antialiased primitives.
_SHIFT = 4
# Gaussian along a contour, standard deviation 2 pixels: removes the staircase, keeps the fingers.
_SMOOTHING_RADIUS = 5
_SMOOTHING = np.exp(-0.5 * (np.arange(-_SMOOTHING_RADIUS, _SMOOTHING_RADIUS + 1) / 2.0) ** 2)
_SMOOTHING /= _SMOOTHING.sum()

# Hue steps of the flow wheel: red to yellow, green, cyan, blue, magenta and back (Baker et al. 2011).
_WHEEL_STEPS = (15, 6, 4, 11, 13, 6)
# Magnitudes from here on mark unknown flow in the Middlebury format.
_UNKNOWN_FLOW = 1e9


def _hand_edge_colour(edge: int) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(edge / len(HAND_EDGES), 1.0, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


HAND_EDGE_COLOURS: tuple[Colour, ...] = tuple(_hand_edge_colour(edge) for edge in range(len(HAND_EDGES)))


def _check_canvas(canvas_HWC: Image) -> None:
    if canvas_HWC.dtype != np.uint8 or canvas_HWC.ndim != 3 or canvas_HWC.shape[2] != 3:
        raise ValueError(f"canvas is {canvas_HWC.dtype} {canvas_HWC.shape}: pass uint8 (height, width, 3)")
    if canvas_HWC.strides[1:] != (3, 1) or canvas_HWC.strides[0] < 0 or not canvas_HWC.flags.writeable:
        raise ValueError("canvas cannot be drawn on in place (read-only or a rearranged view): pass a copy")


def _check_shape(points_KC: Floats, count: int, what: str) -> None:
    if points_KC.shape != (count, 3):
        raise ValueError(f"{what} array is {points_KC.shape}: pass ({count}, 3) of x, y, confidence")


def _visible_points(points_KC: Floats, count: int, what: str) -> list[tuple[float, float] | None]:
    """x, y of each point to draw, None for one that is unsure, missing or absurdly far away."""
    _check_shape(points_KC, count, what)
    points: list[tuple[float, float] | None] = []
    for x, y, confidence in points_KC.tolist():
        # written so that NaN fails each comparison
        near = abs(x) <= _COORDINATE_LIMIT and abs(y) <= _COORDINATE_LIMIT
        points.append((x, y) if near and confidence >= CONFIDENCE_THRESHOLD else None)
    return points


def draw_skeleton(canvas_HWC: Image, keypoints_KC: Floats) -> Image:
    """Draw one person's body and hands the way Wan2.2-Animate expects them; the face is never part of it.

    canvas_HWC: (H, W, 3) uint8 RGB, drawn on in place; all zeros for the official picture.
    keypoints_KC: (133, 3) float, COCO-WholeBody order, x and y in pixels of the canvas, confidence in 0..1.
    Points under confidence 0.5 or not finite are left out; points outside the canvas are clipped.
    Returns the canvas. Raises ValueError for a canvas or keypoints of another shape or type.
    """
    _check_canvas(canvas_HWC)
    _check_shape(keypoints_KC, KEYPOINT_COUNT, "keypoints")
    height, width = canvas_HWC.shape[:2]
    size = np.array([width, height, 1], np.float64)
    # The official code keeps keypoints as float32 fractions of the picture: where a length or an angle is a
    # whole number, only the same rounding gives the same pixels.
    with np.errstate(over="ignore", invalid="ignore"):
        fractions_KC = keypoints_KC.astype(np.float32) / size.astype(np.float32)
        body_20C = to_wan_body(fractions_KC) * size
        left_hand, right_hand = fractions_KC[LEFT_HAND] * size, fractions_KC[RIGHT_HAND] * size
    return draw_body_and_hands(canvas_HWC, body_20C, left_hand, right_hand)


def draw_body_and_hands(
    canvas_HWC: Image,
    body_20C: Floats,
    left_hand_21C: Floats | None = None,
    right_hand_21C: Floats | None = None,
) -> Image:
    """`draw_skeleton` for a pose already in Wan's 20 body points, as retargeting gives it.

    body_20C: (20, 3); left_hand_21C, right_hand_21C: (21, 3) or None; all float: x, y in pixels of the canvas
    and confidence in 0..1. Returns the canvas, drawn on in place. Raises ValueError as `draw_skeleton` does.
    """
    _check_canvas(canvas_HWC)
    body = _visible_points(body_20C, BODY_POINT_COUNT, "body")
    given = [hand for hand in (left_hand_21C, right_hand_21C) if hand is not None]
    hands = [_visible_points(hand, HAND_POINT_COUNT, "hand") for hand in given]
    thickness = max(min(canvas_HWC.shape[:2]) // 200 - 1, 1)  # Wan2.2 official code
    _draw_body(canvas_HWC, body, thickness)
    for hand in hands:
        _draw_hand(canvas_HWC, hand, max(thickness // 2, 1))
    return canvas_HWC


def _draw_body(canvas_HWC: Image, points: list[tuple[float, float] | None], thickness: int) -> None:
    for (parent, child), colour in zip(LIMBS, LIMB_COLOURS, strict=True):
        start, end = points[parent], points[child]
        if start is None or end is None:
            continue
        (x1, y1), (x2, y2) = start, end
        centre = (int((x1 + x2) / 2), int((y1 + y2) / 2))
        half_length = int(math.sqrt((x1 - x2) ** 2 + (y1 - y2) ** 2) / 2)
        degrees = int(math.degrees(math.atan2(y1 - y2, x1 - x2)))
        polygon = cv2.ellipse2Poly(centre, (half_length, thickness), degrees, 0, 360, 1)
        cv2.fillConvexPoly(canvas_HWC, np.asarray(polygon, np.int32), colour)
    for point, colour in zip(points, BODY_COLOURS, strict=True):
        if point is not None:
            cv2.circle(canvas_HWC, (int(point[0]), int(point[1])), thickness, colour, thickness=-1)


def _draw_hand(canvas_HWC: Image, points: list[tuple[float, float] | None], thickness: int) -> None:
    # the official code takes a hand point in or beyond the first row or column for a missing one
    pixels = [(int(point[0]), int(point[1])) if point and min(point) >= 1.0 else None for point in points]
    for (base, tip), colour in zip(HAND_EDGES, HAND_EDGE_COLOURS, strict=True):
        start, end = pixels[base], pixels[tip]
        if start is not None and end is not None:
            cv2.line(canvas_HWC, start, end, colour, thickness=thickness)
    for pixel in pixels:
        if pixel is not None:
            cv2.circle(canvas_HWC, pixel, thickness, HAND_POINT_COLOUR, thickness=-1)


def draw_face_points(canvas_HWC: Image, keypoints_KC: Floats, colour: Colour = FACE_POINT_COLOUR) -> Image:
    """A small dot at each of the 68 face points; for people to look at, never part of the official picture.

    canvas_HWC: (H, W, 3) uint8 RGB, drawn on in place and returned.
    keypoints_KC: (133, 3) float, as for `draw_skeleton`; points under confidence 0.5 are left out.
    Raises ValueError as `draw_skeleton` does.
    """
    _check_canvas(canvas_HWC)
    points = _visible_points(keypoints_KC, KEYPOINT_COUNT, "keypoints")[FACE]
    radius = max(min(canvas_HWC.shape[:2]) / 720, 1.0)
    for point in points:
        if point is not None:
            centre = (round(point[0] * 2**_SHIFT), round(point[1] * 2**_SHIFT))
            cv2.circle(canvas_HWC, centre, round(radius * 2**_SHIFT), colour, -1, cv2.LINE_AA, _SHIFT)
    return canvas_HWC


def _line_width(canvas_HWC: Image) -> int:
    return max(round(min(canvas_HWC.shape[:2]) / 300), 1)


def draw_outline(canvas_HWC: Image, mask_HW: NDArray[np.bool_], colour: Colour) -> Image:
    """The mask's edge, holes included, as a smooth antialiased line.

    canvas_HWC: (H, W, 3) uint8 RGB, drawn on in place and returned. mask_HW: (H, W) bool, True inside.
    Raises ValueError when the mask is not bool or not of the canvas's size.
    """
    _check_canvas(canvas_HWC)
    if mask_HW.dtype != np.bool_ or mask_HW.shape != canvas_HWC.shape[:2]:
        raise ValueError(
            f"mask is {mask_HW.dtype} {mask_HW.shape} on a canvas of {canvas_HWC.shape[:2]}: "
            "pass a bool mask resized to the canvas"
        )
    contours, _ = cv2.findContours(mask_HW.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        points_N2 = np.asarray(contour, np.float64).reshape(-1, 2)
        # a Gaussian along the closed contour takes out the pixel staircase; a few specks need no smoothing
        if len(points_N2) > 2 * _SMOOTHING_RADIUS:
            padded = np.pad(points_N2, ((_SMOOTHING_RADIUS, _SMOOTHING_RADIUS), (0, 0)), mode="wrap")
            points_N2 = np.stack([np.convolve(padded[:, i], _SMOOTHING, "valid") for i in (0, 1)], axis=1)
        fixed = np.round(points_N2 * 2**_SHIFT).astype(np.int32)
        cv2.polylines(canvas_HWC, [fixed], True, colour, _line_width(canvas_HWC), cv2.LINE_AA, _SHIFT)
    return canvas_HWC


def draw_box(canvas_HWC: Image, box_xyxy: Floats | tuple[float, ...], colour: Colour) -> Image:
    """A rectangle's edge. A box that is empty, not finite or absurdly far away is not drawn.

    canvas_HWC: (H, W, 3) uint8 RGB, drawn on in place and returned.
    box_xyxy: x1, y1, x2, y2 in pixels; the right and lower ends are exclusive.
    Raises ValueError when the box is not four numbers.
    """
    _check_canvas(canvas_HWC)
    box = np.asarray(box_xyxy, np.float64)
    if box.shape != (4,):
        raise ValueError(f"box has shape {box.shape}: pass x1, y1, x2, y2 in pixels")
    if bool((np.abs(box) <= _COORDINATE_LIMIT).all()):
        x1, y1, x2, y2 = (round(value) for value in box.tolist())
        if x1 < x2 and y1 < y2:
            cv2.rectangle(canvas_HWC, (x1, y1), (x2 - 1, y2 - 1), colour, _line_width(canvas_HWC))
    return canvas_HWC


def _colour_wheel() -> NDArray[np.float32]:
    """(55, 3) float32 in 0..1: the wheel's hues, spaced by how well people tell them apart."""
    corners = np.array([(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1)], np.float32)
    arcs = [
        start + (end - start) * (np.arange(steps, dtype=np.float32) / steps)[:, None]
        for start, end, steps in zip(corners, np.roll(corners, -1, axis=0), _WHEEL_STEPS, strict=True)
    ]
    wheel: NDArray[np.float32] = np.concatenate(arcs).astype(np.float32)
    return wheel


def flow_to_rgb(flow: Floats, scale: float | None = None) -> Image:
    """Optical flow as colours: hue is direction (right red, down yellow, left cyan, up blue), rest is white.

    The colour wheel of Baker et al., "A Database and Evaluation Methodology for Optical Flow" (IJCV 2011),
    closed between its last hue and its first, and without their darker shade for flow longer than the scale.
    flow: (2, H, W) or (H, W, 2) float, pixels to the right and down; a last axis of 2 is taken as (H, W, 2).
    scale: the length in pixels from which the colour is full. None takes the 99th percentile of this flow, at
        least 1 pixel so that noise stays pale; give the frames of one clip one scale.
    Returns (H, W, 3) uint8 RGB; black where the flow is unknown (not finite, or over 1e9, as there).
    Raises ValueError when no axis is the pair of components or the scale is not positive.
    """
    if flow.ndim != 3 or 2 not in (flow.shape[0], flow.shape[2]):
        raise ValueError(f"flow has shape {flow.shape}: pass (2, height, width) or (height, width, 2)")
    if scale is not None and not 0 < scale < math.inf:
        raise ValueError(f"flow scale is {scale}: pass a positive number of pixels, or None")
    right_HW, down_HW = (flow[..., 0], flow[..., 1]) if flow.shape[2] == 2 else (flow[0], flow[1])
    right_HW, down_HW = right_HW.astype(np.float32), down_HW.astype(np.float32)
    known_HW = (np.abs(right_HW) < _UNKNOWN_FLOW) & (np.abs(down_HW) < _UNKNOWN_FLOW)
    right_HW, down_HW = np.where(known_HW, right_HW, 0), np.where(known_HW, down_HW, 0)
    length_HW = np.hypot(right_HW, down_HW)
    if scale is None:
        scale = max(float(np.percentile(length_HW[known_HW], 99)), 1.0) if known_HW.any() else 1.0

    wheel = _colour_wheel()
    turn_HW = (np.arctan2(-down_HW, -right_HW) / np.float32(np.pi) + 1) * np.float32(len(wheel) / 2)
    step_HW = np.floor(turn_HW).astype(np.intp)
    between_HW1 = (turn_HW - step_HW)[..., None].astype(np.float32)
    this_HWC, next_HWC = wheel[step_HW % len(wheel)], wheel[(step_HW + 1) % len(wheel)]
    hue_HWC = this_HWC + (next_HWC - this_HWC) * between_HW1
    strength_HW1 = np.minimum(length_HW, scale)[..., None] / scale
    rgb_HWC = 1 - strength_HW1 * (1 - hue_HWC)
    rgb_HWC[~known_HW] = 0
    image_HWC: Image = np.round(rgb_HWC * 255).astype(np.uint8)
    return image_HWC

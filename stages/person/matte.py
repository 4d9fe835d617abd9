"""From a rough person probability to a clean mask: follow the picture's edges, drop what is not the person."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from stages.person.coco_wholebody import FACE, LEFT_HAND, LIMBS, RIGHT_HAND, TORSO, Points
from stages.person.estimator import PersonFrame, Pixels, Segmentation
from wanprep.media.geometry import Size

Mask = npt.NDArray[np.bool_]

_EDGE = 1000.0  # variance of the guide (0 to 255) at which the guided filter starts to keep an edge
_SUBSAMPLE = 0.25  # fast guided filter; 3.4 against 27 ms at 854x480 (measured)
_MARGIN = 2  # filter radii around the person that are filtered too
_SEEN = 0.3  # confidence of points that count as part of the body
_HALF = 128  # probability 0.5 in bytes


def paste(segmentation: Segmentation, size: Size, scale: tuple[float, float]) -> Pixels:
    """The probability on a picture of `size` (width, height), 0 outside its view: uint8 [H,W].

    `scale` is that picture's size over that of the frame whose pixels the view's box is in.
    """
    # To whole pixels, half of one at most and less than a cell of the segmentation: a quarter of a warp's time.
    x0, y0, x1, y1 = (round(float(edge)) for edge in segmentation.box_C * np.array([*scale, *scale]))
    pasted: Pixels = np.zeros((size[1], size[0]), np.uint8)
    left, top, right, bottom = max(0, x0), max(0, y0), min(size[0], x1), min(size[1], y1)
    if right > left and bottom > top:
        enlarged = cv2.resize(segmentation.probability_HW, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
        pasted[top:bottom, left:right] = enlarged[top - y0 : bottom - y0, left - x0 : right - x0]
    return pasted


def follow_edges(probability_HW: Pixels, guide_HWC: Pixels, radius: int) -> Pixels:
    """Moves the probability's edge to the picture's by the guided filter (He et al., 2013; fast variant, 2015).

    Only the part around the person is filtered. uint8 in and out.
    """
    rows = np.flatnonzero(probability_HW.max(1) > _HALF // 2)
    columns = np.flatnonzero(probability_HW.max(0) > _HALF // 2)
    if not len(rows):
        return np.zeros_like(probability_HW)
    margin = _MARGIN * radius
    part = np.s_[
        max(0, rows[0] - margin) : rows[-1] + margin + 1,
        max(0, columns[0] - margin) : columns[-1] + margin + 1,
    ]
    guide = np.ascontiguousarray(guide_HWC[part])
    # OpenCV counts the radius in subsampled pixels; small radii and pictures are cheap as they are.
    subsample = _SUBSAMPLE if min(*guide.shape[:2], 16 * radius) * _SUBSAMPLE >= 16 else 1.0
    filtered = cv2.ximgproc.guidedFilter(
        guide,
        probability_HW[part].astype(np.float32),
        max(1, round(radius * subsample)),
        _EDGE,
        scale=subsample,
    )
    result = np.zeros_like(probability_HW)
    result[part] = np.clip(np.rint(filtered), 0, 255).astype(np.uint8)
    return result


def median3(before: Pixels | None, now: Pixels, after: Pixels | None) -> Pixels:
    """The median of three consecutive frames, pixel by pixel; `now` itself where a neighbour is missing."""
    if before is None or after is None:
        return now
    low, high = np.minimum(before, now), np.maximum(before, now)
    median: Pixels = np.maximum(low, np.minimum(high, after))
    return median


def connected_to_body(mask_HW: Mask, keypoints_KC: Points) -> Mask:
    """The parts of a mask that touch the torso, limbs, face or hands; the largest part when none does.

    `keypoints_KC` [133,3] is in the mask's pixels.
    """
    left, top, width, height = cv2.boundingRect(mask_HW.view(np.uint8))
    part = np.s_[top : top + height, left : left + width]
    count, labels_HW = cv2.connectedComponents(
        np.ascontiguousarray(mask_HW[part]).view(np.uint8), connectivity=4, ltype=cv2.CV_16U
    )
    if count <= 2:
        return mask_HW
    body_HW = draw_body(keypoints_KC, (mask_HW.shape[1], mask_HW.shape[0]), thickness=1)
    touched = np.zeros(count, bool)
    touched[labels_HW[body_HW[part]]] = True
    touched[0] = False
    if not touched.any():
        sizes = np.bincount(labels_HW.ravel(), minlength=count)
        touched[1 + int(np.argmax(sizes[1:]))] = True
    kept: Mask = np.zeros_like(mask_HW)
    kept[part] = touched[labels_HW]
    return kept


def draw_body(keypoints_KC: Points, size: Size, thickness: int) -> Mask:
    """Torso, limbs, face and hands as a rough silhouette bool [H,W]; limbs are `thickness` pixels wide."""
    canvas = np.zeros((size[1], size[0]), np.uint8)
    seen_K = keypoints_KC[:, 2] >= _SEEN
    # Points far outside would overflow OpenCV's integers.
    points_KC = np.rint(np.clip(keypoints_KC[:, :2], -(1 << 14), 1 << 14)).astype(np.int32)
    for part in (list(TORSO), FACE, LEFT_HAND, RIGHT_HAND):
        points = points_KC[part][seen_K[part]]
        if len(points) >= 3:
            cv2.fillConvexPoly(canvas, cv2.convexHull(points), (1,))
    for a, b in LIMBS:
        if seen_K[a] and seen_K[b]:
            cv2.line(canvas, points_KC[a].tolist(), points_KC[b].tolist(), (1,), thickness)
    return canvas.view(bool)


def hull(person: PersonFrame, size: Size, scale: tuple[float, float]) -> Pixels:
    """A silhouette from the skeleton alone, 0 or 255 [H,W]: what is left when there is no segmentation."""
    head = max(2.0, person.head.width * scale[0])
    keypoints_KC = person.keypoints_KC * np.array([*scale, 1], np.float32)
    silhouette = draw_body(keypoints_KC, size, thickness=max(1, round(head * 0.6))).astype(np.uint8)
    grow = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(head * 0.2) + 1,) * 2)
    grown: Pixels = cv2.dilate(silhouette, grow).astype(np.uint8) * np.uint8(255)
    return grown


def binary(probability_HW: Pixels) -> Mask:
    """Where the probability is at least one half."""
    inside: Mask = probability_HW >= _HALF
    return inside


def without_others(probability_NHW: list[Pixels]) -> list[Pixels]:
    """Gives each pixel to the most probable person and takes it from the others; the first wins ties."""
    if len(probability_NHW) < 2:
        return probability_NHW
    winner_HW = np.argmax(np.stack(probability_NHW), axis=0)
    return [np.where(winner_HW == i, p, np.uint8(0)) for i, p in enumerate(probability_NHW)]

"""Skeleton pictures, drawn from 133 keypoints and from the parts that the official records keep."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from golden.golden_file import Array, GoldenFile
from golden.topic import Topic
from wanprep.media.draw import draw_body_and_hands, draw_skeleton
from wanprep.media.wan_body import to_wan_body

_POINTS = "_kp133"


def drawn_cases(file: GoldenFile) -> Iterator[str]:
    for key in sorted(file.arrays):
        if key.endswith(_POINTS):
            yield key.removesuffix(_POINTS)


def check_skeleton(file: GoldenFile, case: str) -> None:
    width, height = file.arrays[f"{case}_wh"].tolist()
    expected_HWC = _picture(file.companion(f"skeleton_{case}.png"))
    keypoints_KC = file.arrays[case + _POINTS]
    np.testing.assert_array_equal(draw_skeleton(_black(height, width), keypoints_KC), expected_HWC)
    fractions_KC = keypoints_KC / np.array([width, height, 1], np.float32)
    np.testing.assert_array_equal(to_wan_body(fractions_KC), file.arrays[f"{case}_keypoints_body"])
    body, left, right = (
        file.arrays[f"{case}_keypoints_{part}"] * np.array([width, height, 1.0])
        for part in ("body", "left_hand", "right_hand")
    )
    np.testing.assert_array_equal(draw_body_and_hands(_black(height, width), body, left, right), expected_HWC)


def _black(height: int, width: int) -> Array:
    return np.zeros((height, width, 3), np.uint8)


def _picture(file: GoldenFile) -> Array:
    image_HWC = cv2.imread(str(file.path), cv2.IMREAD_COLOR)
    assert image_HWC is not None, f"{file.name} is no picture"
    return np.ascontiguousarray(image_HWC[..., ::-1])


TOPICS = [
    Topic(
        files=("animate/skeleton_*.npz",),
        companions=("animate/skeleton_*.png",),
        cases=drawn_cases,
        check=check_skeleton,
    )
]

"""The pose record of the Wan2.2 official preprocessing: body, hands and face as fractions of the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wanprep.animate.compat import Compat, OfficialFailure
from wanprep.media.geometry import Size
from wanprep.media.wan_body import BODY_POINTS, KEYPOINT_COUNT, LEFT_HAND, RIGHT_HAND

# The official record's face starts one point too early, with the right heel, so that it has 69 rows.
FACE_WITH_HEEL = slice(22, 91)
HEEL_ROWS = 1

_FIRST_SOURCE = np.array([sources[0] for _, sources in BODY_POINTS])
_LAST_SOURCE = np.array([sources[-1] for _, sources in BODY_POINTS])


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """One person over T frames, float32: x and y as fractions of the frame, not clipped, then confidence.

    Left and right are the person's. Rows of the body are `wan_body.BODY_POINT_NAMES`.
    """

    size: Size  # width, height of the frames, pixels
    body_TKC: npt.NDArray[np.float32]  # [T,20,3]
    left_hand_TKC: npt.NDArray[np.float32]  # [T,21,3]
    right_hand_TKC: npt.NDArray[np.float32]  # [T,21,3]
    face_TKC: npt.NDArray[np.float32]  # [T,69,3]: the right heel, to be ignored, then the 68 face points
    held_T: npt.NDArray[np.bool_]  # the body is another frame's, or none

    def __len__(self) -> int:
        return len(self.body_TKC)

    def pixels(self, part_TKC: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """A part with x and y in pixels, float64, as the official code scales it."""
        scaled: npt.NDArray[np.float64] = part_TKC * np.array([*self.size, 1], np.float64)
        return scaled

    def face_pixels(self) -> npt.NDArray[np.float64]:
        """The 68 face points in pixels, float64 [T,68,3]."""
        return self.pixels(self.face_TKC[:, HEEL_ROWS:])

    def __getitem__(self, frames: slice) -> Pose:
        return Pose(
            self.size,
            self.body_TKC[frames],
            self.left_hand_TKC[frames],
            self.right_hand_TKC[frames],
            self.face_TKC[frames],
            self.held_T[frames],
        )


def pose_of(keypoints_TKC: npt.NDArray[np.floating[Any]], size: Size, compat: Compat = "robust") -> Pose:
    """The record of 133 COCO-WholeBody keypoints, float [T,133,3] in pixels of frames of `size`.

    A body point is the mean of its sources in x, y and confidence. A frame whose body lies wholly at negative x or y
    has the body of the frame before; its hands and face stay as they are.

    Under "robust" a frame without any confident body point is such a frame, too; those before the first body have
    the first, without confidence; and a point with a missing source (no confidence, or not finite) is at 0 with
    confidence 0.

    Raises:
        ValueError: another shape than [T,133,3], or no frames.
        OfficialFailure: the first frame's body lies wholly at negative x or y, under "official".
    """
    if keypoints_TKC.ndim != 3 or keypoints_TKC.shape[1:] != (KEYPOINT_COUNT, 3) or not len(keypoints_TKC):
        raise ValueError(
            f"keypoints array is {keypoints_TKC.shape}: pass (frames, 133, 3) of x, y, confidence"
        )
    keypoints = keypoints_TKC.astype(np.float32)
    if compat == "robust":
        finite = np.isfinite(keypoints).all(axis=-1, keepdims=True) & (keypoints[..., 2:] > 0)
        keypoints = np.where(finite, keypoints, np.float32(0))
    fractions = keypoints / np.array([*size, 1], np.float32)
    first, last = fractions[:, _FIRST_SOURCE], fractions[:, _LAST_SOURCE]
    body: npt.NDArray[np.float32] = (first + last) * np.float32(0.5)
    away_T = (body[..., :2].min(axis=-1) < 0).all(axis=-1)
    if compat == "robust":
        body[(first[..., 2] <= 0) | (last[..., 2] <= 0)] = 0
        away_T |= ~(body[..., 2] > 0).any(axis=-1)
    elif away_T[0]:
        raise OfficialFailure("no person in the first frame")
    return Pose(
        size,
        _held(body, away_T),
        fractions[:, LEFT_HAND],
        fractions[:, RIGHT_HAND],
        fractions[:, FACE_WITH_HEEL],
        away_T,
    )


def _held(body_TKC: npt.NDArray[np.float32], away_T: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Each body, or the last that was there."""
    if away_T.all():
        return np.zeros_like(body_TKC)
    source_T = np.maximum.accumulate(np.where(away_T, -1, np.arange(len(away_T))))
    held_TKC: npt.NDArray[np.float32] = body_TKC[np.where(source_T < 0, int((~away_T).argmax()), source_T)]
    held_TKC[source_T < 0, :, 2] = 0
    return held_TKC

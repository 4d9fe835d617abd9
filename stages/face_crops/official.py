"""The official crop of each frame by itself, with the official code's failures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.face_crops import is_kept_small
from wanprep.animate.compat import OfficialFailure
from wanprep.animate.face_crop import crop_face, face_box
from wanprep.animate.resize import model_size, resize_by_area
from wanprep.media.image import RGB, letterbox_box


class OfficialFrames:
    """Frames as the official code cuts faces from them: the video's own, or letterboxed to `area` pixels."""

    def __init__(self, width: int, height: int, area: int | None) -> None:
        self.size = (width, height)
        self._scale_C, self._shift_C = np.ones(2), np.zeros(2)
        if area is not None:
            self.size = model_size(width, height, area, compat="official")
            x0, y0, x1, y1 = letterbox_box((width, height), self.size)
            self._scale_C = np.array([(x1 - x0) / width, (y1 - y0) / height])
            self._shift_C = np.array([x0, y0], float)

    def points(self, points_KC: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
        """Points [K,2] of the video's own frames in these."""
        moved_KC: npt.NDArray[np.floating[Any]] = points_KC * self._scale_C + self._shift_C
        return moved_KC


def official_boxes(
    points_TKC: npt.NDArray[np.floating[Any]], valid_T: npt.NDArray[np.bool_], frames: OfficialFrames
) -> npt.NDArray[np.float32]:
    """Boxes of a clip: whole pixels of `frames` as float32 [T,4].

    Raises:
        OfficialFailure: a frame has no face, or its crop is empty.
    """
    width, height = frames.size
    boxes_TC = np.zeros((len(valid_T), 4), np.float32)
    for frame, valid in enumerate(valid_T):
        if not valid:
            raise OfficialFailure(f"frame {frame} has no face")
        points_KC = frames.points(points_TKC[frame : frame + 1][0])
        boxes_TC[frame] = box_C = face_box(points_KC, width, height, "official")
        x0, y0, x1, y1 = box_C.tolist()
        if not range(width)[x0:x1] or not range(height)[y0:y1]:
            raise OfficialFailure(f"frame {frame}: the face lies outside the frame")
    return boxes_TC


def cut_official(rgb_HWC: RGB, box_C: npt.NDArray[np.floating[Any]], side: int, area: int | None) -> RGB:
    """The box's pixels, or the crop of `side` pixels where they are too many; uint8 [H,W,3].

    A negative end counts from the far side, as in the official code.
    """
    frame_HWC = rgb_HWC if area is None else resize_by_area(rgb_HWC, area, compat="official")
    whole_C = box_C.astype(np.int32)
    x0, y0, x1, y1 = whole_C.tolist()
    pixels_HWC = frame_HWC[y0:y1, x0:x1]
    if is_kept_small(pixels_HWC, side):
        return np.ascontiguousarray(pixels_HWC)
    return crop_face(frame_HWC, whole_C, side, "official")

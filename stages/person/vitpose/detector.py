"""Before and after YOLOv10-M: from frames to its input, and from its rows to people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from wanprep.animate.compat import Compat
from wanprep.media.geometry import Size
from wanprep.media.image import RGB

Boxes = npt.NDArray[np.float32]

SIDE = 640  # pixels of the network's input
_PERSON = 0
_SCORE = 0.05
_OVERLAP = 0.5  # intersection over union from which the weaker of two boxes is dropped
_SMALLER = 0.4  # a larger area does not win with a longest side below this part of the best one's


def detector_input(frames: Iterable[RGB]) -> npt.NDArray[np.float32]:
    """RGB frames [H,W,3], each stretched to the network's input: float32 [B,3,640,640], RGB, 0 to 1."""
    import cv2

    squares = [cv2.resize(frame_HWC, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR) for frame_HWC in frames]
    pixels_BCHW = np.stack(squares).transpose(0, 3, 1, 2).astype(np.float32)
    pixels_BCHW /= 255
    return np.ascontiguousarray(pixels_BCHW)


def people(
    rows_NC: npt.NDArray[np.floating[Any]], width: int, height: int, compat: Compat = "robust"
) -> Boxes:
    """The people in a frame, best first: float32 [P,5] x0 y0 x1 y1 score, whole pixels of the frame.

    Of overlapping boxes the best stays: among people under "robust", where the official code lets a box of any other
    class push a person out.

    Args:
        rows_NC: the network's rows [N,6]: x0 y0 x1 y1 in its input, score, class.
        width, height: of the frame.
    """
    import cv2

    rows = rows_NC[np.isfinite(rows_NC).all(axis=1) & (rows_NC[:, 4] >= _SCORE)]
    if compat == "robust":
        rows = rows[rows[:, 5] == _PERSON]
    if not len(rows):
        return np.zeros((0, 5), np.float32)
    corners_NC = rows[:, :4] * np.array([width / SIDE, height / SIDE] * 2)
    boxes_NC = np.concatenate([corners_NC[:, :2], corners_NC[:, 2:] - corners_NC[:, :2]], axis=1)
    # Whole numbers before overlaps are measured, as in the official code.
    boxes_NC = boxes_NC.astype(np.int32)
    kept = np.array(cv2.dnn.NMSBoxes(boxes_NC.tolist(), rows[:, 4].tolist(), _SCORE, _OVERLAP), np.intp)
    kept = kept.reshape(-1)
    kept = kept[(rows[kept, 5] == _PERSON) & (rows[kept, 4] > _SCORE)]
    chosen_PC = boxes_NC[kept].astype(np.float32)
    chosen_PC[:, 2:] += chosen_PC[:, :2]
    return np.column_stack([chosen_PC, rows[kept, 4].astype(np.float32)])


def select_person(people_PC: Boxes, width: int, height: int) -> Boxes:
    """Whom the official code takes of `people`: float32 [5], the largest box by area; the whole frame with score -1
    when there is nobody.

    In the order of score, a larger one is passed over when its longest side is below 0.4 of the best one's so far.
    """
    best_C = np.array([0, 0, width, height, -1], np.float32)
    area, longest = 0.0, 0.0
    for person_C in people_PC:
        wide, tall = (person_C[2:4] - person_C[:2]).tolist()
        if wide * tall <= area or max(wide, tall) < _SMALLER * longest:
            continue
        best_C, area, longest = person_C, wide * tall, max(wide, tall)
    return best_C


def pose_box(person_C: Boxes, size: Size) -> Boxes:
    """The box that is measured: the person's, or the whole frame for none and for one below ten pixels; float32 [4]."""
    wide, tall = (person_C[2:4] - person_C[:2]).tolist()
    if person_C[4] <= 0 or min(wide, tall) < _LEAST_SIDE:
        return np.array([0, 0, *size], np.float32)
    return person_C[:4].astype(np.float32)


_LEAST_SIDE = 10

"""Which instruction an image editor is given, when limbs are to be measured on people who stand straight."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from wanprep.animate.retarget.fit import ANKLES, ELBOWS, KNEES, WRISTS
from wanprep.media.geometry import Size

_CONFIDENCE = 0.75


class Instruction(Enum):
    """What shall be in view, and where the arms go: out to the sides in a wide picture, down in any other."""

    LEGS_T_POSE = "legs/t_pose"
    LEGS_ARMS_DOWN = "legs/arms_down"
    ARMS_T_POSE = "arms/t_pose"
    ARMS_ARMS_DOWN = "arms/arms_down"
    FACE_ONLY = "face_only"


def edit_instruction(body_TKC: npt.NDArray[np.floating[Any]], size: Size) -> Instruction:
    """The instruction for a picture of `size`, by what the driving clip shows in any frame (Wan2.2 official code).

    Args:
        body_TKC: [T,20,3] of the driving clip, x and y as fractions of the frame, and confidence.
        size: width, height of the picture to edit: the driving frame's or the reference's.
    """
    shown_TK = (body_TKC[..., :2] <= 1).all(axis=-1) & (body_TKC[..., 2] >= _CONFIDENCE)
    wide = size[0] > size[1]
    if shown_TK[:, KNEES + ANKLES].any():
        return Instruction.LEGS_T_POSE if wide else Instruction.LEGS_ARMS_DOWN
    if shown_TK[:, ELBOWS + WRISTS].any():
        return Instruction.ARMS_T_POSE if wide else Instruction.ARMS_ARMS_DOWN
    return Instruction.FACE_ONLY

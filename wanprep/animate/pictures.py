"""The skeleton pictures of a clip that is not retargeted."""

from __future__ import annotations

import numpy as np

from wanprep.animate.compat import Compat
from wanprep.animate.pose import Pose
from wanprep.media.draw import draw_body_and_hands
from wanprep.media.geometry import Size
from wanprep.media.image import RGB, letterbox, letterbox_box


def skeleton_picture(pose: Pose, frame: int, canvas: Size | None = None, compat: Compat = "robust") -> RGB:
    """The skeleton of one frame on black, uint8 [H,W,3] of the pose's size, or letterboxed to `canvas` (width, height).

    The official code letterboxes the picture, which blurs its lines and makes their width depend on the source;
    "robust" moves the points and draws on the canvas.
    """
    parts = [pose.pixels(part[frame]) for part in (pose.body_TKC, pose.left_hand_TKC, pose.right_hand_TKC)]
    if canvas is not None and canvas != pose.size and compat == "robust":
        x0, y0, x1, y1 = letterbox_box(pose.size, canvas)
        scale = np.array([(x1 - x0) / pose.size[0], (y1 - y0) / pose.size[1], 1])
        parts = [part_KC * scale + np.array([x0, y0, 0]) for part_KC in parts]
        return draw_body_and_hands(_black(canvas), *parts)
    picture_HWC = draw_body_and_hands(_black(pose.size), *parts)
    return picture_HWC if canvas is None else letterbox(picture_HWC, canvas)


def _black(size: Size) -> RGB:
    return np.zeros((size[1], size[0], 3), np.uint8)

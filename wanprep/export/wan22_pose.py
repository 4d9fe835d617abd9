"""The skeleton pictures of a clip, from what its store holds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from schemas import RetargetRecord, SkeletonRecord
from wanprep.animate.pictures import skeleton_picture
from wanprep.animate.pose import pose_of
from wanprep.animate.retarget import Retargeted
from wanprep.media.geometry import Size

Pictures = npt.NDArray[np.uint8]


class RetargetedPose:
    """The character's skeleton on its canvas, as the stage `retarget` has it."""

    source = "retarget"

    def __init__(self, record: RetargetRecord) -> None:
        self._record = record
        self.size: Size = (record.width, record.height)
        self.frames = record.frames

    def pictures_THWC(self, start: int, stop: int) -> Pictures:
        """Frames `start` to `stop` (exclusive) on black, uint8 [T, height, width, 3]; asked for in order."""
        record = self._record
        parts = (record.body_TKC, record.left_hand_TKC, record.right_hand_TKC)
        moved = Retargeted(self.size, *(np.asarray(part_TKC[start:stop], np.float64) for part_TKC in parts))
        official = record.compat == "official"
        return np.stack([moved.picture(frame, right_hand_first=official) for frame in range(len(moved))])


class DrivingPose:
    """The driving person's own skeleton, as in the video's letterbox of `size`.

    The smoothed points are drawn, short gaps filled in; where nobody is seen for longer, nothing is.
    """

    source = "skeleton"

    def __init__(self, record: SkeletonRecord, size: Size) -> None:
        self._record = record
        self.size = size
        self.frames = record.frames

    def pictures_THWC(self, start: int, stop: int) -> Pictures:
        """As of `RetargetedPose`."""
        keypoints_TKC = np.asarray(self._record.keypoints_smooth_TKC[start:stop], np.float32)
        pose = pose_of(keypoints_TKC, (self._record.width, self._record.height))
        pose.body_TKC[pose.held_T] = 0  # another frame's
        return np.stack([skeleton_picture(pose, frame, self.size) for frame in range(len(pose))])

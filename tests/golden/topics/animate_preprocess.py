"""The whole preprocessing with given keypoints and masks: the official order of its steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from golden.golden_file import Array, GoldenFile
from golden.topic import Topic
from wanprep.animate.pose import Pose


def _pose(fractions_TKC: Array, width: int, height: int) -> Pose:
    from wanprep.animate.pose import pose_of

    pixels_TKC = fractions_TKC * np.array([width, height, 1], np.float32)
    return pose_of(pixels_TKC, (width, height), "official")


def _skeletons(fields: dict[str, Any], pose: Pose, reference_HWC: Array) -> list[Array]:
    from wanprep.animate.pictures import skeleton_picture
    from wanprep.animate.retarget import retarget

    frames = range(len(pose))
    height, width = reference_HWC.shape[:2]
    if fields["retarget"]:
        reference = _pose(fields["kp133_ref_norm"][None], width, height)
        moved = retarget(pose, reference, compat="official")
        return [moved.picture(frame, right_hand_first=True) for frame in frames]
    canvas = None if fields["replace"] else (width, height)
    return [skeleton_picture(pose, frame, canvas, "official") for frame in frames]


def check(file: GoldenFile, case: str) -> None:
    from wanprep.animate.face_crop import crop_face, face_box
    from wanprep.animate.frames import frame_indices
    from wanprep.animate.mask_grid import augment_mask, background
    from wanprep.animate.resize import resize_by_area

    fields = file.case(case)
    area = int(np.prod(fields["area"]))
    clip_THWC, rate = fields["frames"], float(fields["video_fps"])
    numbers_T = fields["indices"]
    # The container's own count is not given: of a longer one the same frames come first.
    count = 2 * int(numbers_T.max()) + 2
    chosen_T, fps = frame_indices(count, rate, count / rate, int(fields["fps"]), "official")
    np.testing.assert_array_equal(chosen_T[: len(numbers_T)], numbers_T)
    frames = [clip_THWC[number % len(clip_THWC)] for number in numbers_T]
    if fields["replace"]:
        frames = [resize_by_area(frame, area, compat="official") for frame in frames]
    height, width = frames[0].shape[:2]
    pose = _pose(fields["kp133_norm"], width, height)
    reference_HWC = resize_by_area(fields["ref_rgb"], area, compat="official")
    np.testing.assert_array_equal(np.stack(_skeletons(fields, pose, reference_HWC)), fields["src_pose"])
    assert fps == fields["src_pose_fps"] == fields["src_face_fps"]

    points_TKC = pose.face_pixels()
    faces = [
        crop_face(frame, face_box(points_KC, width, height, "official"), compat="official")
        for frame, points_KC in zip(frames, points_TKC, strict=True)
    ]
    assert np.stack(faces).shape == tuple(fields["src_face_shape"])
    np.testing.assert_array_equal(np.stack(faces)[:, ::8, ::8], fields["src_face_sub8"])

    if fields["replace"]:
        options = [int(fields[name]) for name in ("iterations", "k", "w_len", "h_len")]
        masks = [augment_mask(mask, *options, compat="official") for mask in fields["sam_masks"]]
        np.testing.assert_array_equal(np.stack(masks) * 255, fields["src_mask"])
        grounds = [background(frame, mask) for frame, mask in zip(frames, masks, strict=True)]
        np.testing.assert_array_equal(np.stack(grounds), fields["src_bg"])
        assert fps == fields["src_bg_fps"] == fields["src_mask_fps"]


TOPICS = [Topic(files=("animate/preprocess_e2e*.npz",), check=check)]

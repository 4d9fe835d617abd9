"""Pose records of the official preprocessing. The face with two eye centres, which nothing there uses, is not made."""

from __future__ import annotations

import numpy as np

from golden.golden_file import GoldenFile
from golden.topic import Topic


def check(file: GoldenFile, case: str) -> None:
    from wanprep.animate.pose import pose_of

    fields = file.case(case)
    width, height = fields["wh"].tolist()
    pose = pose_of(fields["kp133"], (width, height), compat="official")
    for part, made_TKC in (
        ("body", pose.body_TKC),
        ("left_hand", pose.left_hand_TKC),
        ("right_hand", pose.right_hand_TKC),
        ("face", pose.face_TKC),
    ):
        assert made_TKC.dtype == np.float32
        np.testing.assert_allclose(made_TKC, fields[f"keypoints_{part}"], rtol=1e-6, atol=0)
    body_TKC = pose.pixels(pose.body_TKC)
    np.testing.assert_allclose(body_TKC[..., :2], fields["body_px"], rtol=1e-6, atol=0)
    np.testing.assert_allclose(body_TKC[..., 2], fields["body_p"], rtol=1e-6, atol=0)
    np.testing.assert_allclose(
        pose.pixels(pose.left_hand_TKC)[..., :2], fields["lhand_px"], rtol=1e-6, atol=0
    )
    np.testing.assert_allclose(
        pose.pixels(pose.right_hand_TKC)[..., :2], fields["rhand_px"], rtol=1e-6, atol=0
    )


TOPICS = [Topic(files=("animate/kp133_to_meta*.npz",), check=check)]

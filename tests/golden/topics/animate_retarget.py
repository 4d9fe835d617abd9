"""Retargeting as the official preprocessing does it, and the instruction for its image editor."""

from __future__ import annotations

from typing import Any

import numpy as np

from golden.golden_file import Array, GoldenFile
from golden.topic import Topic
from wanprep.animate.pose import Pose


def _pose(fields: dict[str, Array], who: str, size: Array) -> Pose:
    body, left, right = (
        fields[f"{who}_keypoints_{part}"].reshape(-1, points, 3)
        for part, points in (("body", 20), ("left_hand", 21), ("right_hand", 21))
    )
    width, height = size.tolist()
    frames = len(body)
    face_TKC = np.zeros((frames, 69, 3), np.float32)  # has no part in it
    return Pose((width, height), body, left, right, face_TKC, np.zeros(frames, bool))


def check_retarget(file: GoldenFile, case: str) -> None:
    from wanprep.animate.retarget import fit, move

    fields = file.case(case)
    first = _pose(fields, "tpl0", fields["tpl0_wh"])
    reference = _pose(fields, "ref", fields["ref_wh"])
    edited = None
    if "tpledit_wh" in fields:
        edited = (
            _pose(fields, "tpledit", fields["tpledit_wh"]),
            _pose(fields, "refedit", fields["refedit_wh"]),
        )
    found = fit(first, reference, edited, "official")
    np.testing.assert_allclose(found.scale, fields["mid_scale"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.ratios_N, fields["mid_ratio"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.shift, [fields["mid_dx"], fields["mid_dy"]], rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.ground_x, fields["mid_ground_x"], rtol=0, atol=1e-3)
    assert found.framing.name.lower() == str(fields["mid_flag"])
    assert list(found.canvas) == fields["out_wh"].tolist()
    moved = move(found, _pose(fields, "tpl", fields["tpl0_wh"]), "official")
    np.testing.assert_allclose(moved.body_TKC[..., :2], fields["out_body"], rtol=0, atol=1e-3)
    np.testing.assert_array_equal(moved.body_TKC[..., 2], fields["out_body_p"])
    # The official code stores the character's right hand under the left one's name.
    for made_TKC, stored in ((moved.right_hand_TKC, "lhand"), (moved.left_hand_TKC, "rhand")):
        np.testing.assert_allclose(made_TKC[..., :2], fields[f"out_{stored}"], rtol=0, atol=1)
        np.testing.assert_array_equal(made_TKC[..., 2], fields[f"out_{stored}_p"])
    picture_HWC = moved.picture(len(moved) - 1, right_hand_first=True)
    np.testing.assert_array_equal(picture_HWC, fields["last_frame_image"])


def check_instruction(file: GoldenFile, case: str) -> None:
    from wanprep.animate.retarget import edit_instruction

    fields: dict[str, Any] = file.case(case)
    body_TKC = np.array(fields["body"], np.float32)
    for who in ("template", "ref"):
        width, height = fields[f"{who}_wh"]
        assert edit_instruction(body_TKC, (width, height)).value == fields[f"{who}_class"]


TOPICS = [
    Topic(files=("animate/retarget*.npz",), check=check_retarget),
    Topic(files=("animate/edit_prompt_class*.json",), check=check_instruction),
]

"""The square around the face that the face encoder gets."""

from __future__ import annotations

import numpy as np
import pytest

from golden.golden_file import GoldenFile
from golden.topic import Topic


def check_face_box(file: GoldenFile, case: str) -> None:
    from wanprep.animate.compat import OfficialFailure
    from wanprep.animate.face_crop import crop_face, face_box

    fields = file.case(case)
    width, height = fields["w"], fields["h"]
    points_KC = np.array(fields["face_norm"], np.float32)[1:] * np.array([width, height])
    safe_C = face_box(points_KC, width, height)
    frame_HWC = np.full((height, width, 3), 9, np.uint8)
    if "error" in fields:
        with pytest.raises(OfficialFailure):
            face_box(points_KC, width, height, "official")
        assert safe_C.tolist() == [0, 0, 0, 0]
        assert not crop_face(frame_HWC, safe_C).any()
        return
    x0, x1, y0, y1 = fields["bbox_x1x2y1y2"]
    box_C = face_box(points_KC, width, height, "official")
    assert box_C.tolist() == [x0, y0, x1, y1]
    assert list(frame_HWC[y0:y1, x0:x1].shape[:2]) == fields["crop_shape_hw"]
    if fields["crop_ok"]:
        assert (crop_face(frame_HWC, box_C, compat="official") == 9).all()
    else:
        with pytest.raises(OfficialFailure):
            crop_face(frame_HWC, box_C, compat="official")
    # Where the official crop is empty or from the far side, there is no face inside the frame.
    inside = fields["crop_ok"] and x1 > 0 and y1 > 0
    assert safe_C.tolist() == ([x0, y0, x1, y1] if inside else [0, 0, 0, 0])


TOPICS = [Topic(files=("animate/face_bbox*.json",), check=check_face_box)]

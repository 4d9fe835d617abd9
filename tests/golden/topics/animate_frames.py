"""Frames that the official preprocessing takes from a container, by number."""

from __future__ import annotations

import pytest

from golden.golden_file import GoldenFile
from golden.topic import Topic


def check(file: GoldenFile, case: str) -> None:
    from wanprep.animate.compat import OfficialFailure
    from wanprep.animate.frames import frame_indices

    fields = file.case(case)
    asked = (fields["container_frames"], fields["avg_fps"], fields["last_frame_end_s"], fields["fps_arg"])
    if "error" in fields:
        with pytest.raises(OfficialFailure):
            frame_indices(*asked, compat="official")
        return
    numbers_T, fps = frame_indices(*asked, compat="official")
    assert numbers_T.tolist() == fields["indices"]
    assert len(numbers_T) == fields["n_out"]
    assert fps == fields["out_fps"]


TOPICS = [Topic(files=("animate/frame_resample*.json",), check=check)]

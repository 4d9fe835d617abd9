"""Segments of a clip for the official generator, their padding, and the mask channels of one."""

from __future__ import annotations

import numpy as np
import pytest

from golden.golden_file import GoldenFile
from golden.topic import Topic


def check_segments(file: GoldenFile, case: str) -> None:
    from wanprep.animate.compat import OfficialFailure
    from wanprep.animate.segments import padded_length, ping_pong, segment_windows, segments

    fields = file.case(case)
    asked = (fields["n_frames"], fields["clip_len"], fields["refert_num"])
    padded = padded_length(*asked)
    assert padded == fields["padded_len"]
    windows = segment_windows(padded, *asked[1:])
    assert [list(window) for window in windows] == fields["windows"]
    assert len(windows) == fields["n_segments"]
    if "padded_index" in fields:
        assert ping_pong(asked[0], padded).tolist() == fields["padded_index"]
    elif "padded_index_tail" in fields:
        assert ping_pong(asked[0], padded)[asked[0] - 3 :].tolist() == fields["padded_index_tail"]
    else:
        assert "pad_error" in fields
    if fields["official_result"] != "ok":
        with pytest.raises(OfficialFailure):
            segments(*asked, compat="official")
        return
    whole = segments(*asked, compat="official")
    assert whole.windows == windows
    assert len(whole.indices_T) == padded


def check_mask(file: GoldenFile, case: str) -> None:
    from wanprep.animate.mask_channels import known_frames, mask_channels

    fields = file.case(case)
    frames = (int(fields["lat_t"]) - 1) * 4 + 1
    keep = fields.get("mask_pixel_values")
    known_THW = known_frames(
        frames,
        int(fields["lat_h"]),
        int(fields["lat_w"]),
        int(fields["mask_len"]),
        None if keep is None else keep[0],
    )
    channels = mask_channels(known_THW)
    assert channels.dtype == np.float32
    np.testing.assert_array_equal(channels, fields["out"])


TOPICS = [
    Topic(files=("animate/segments*.json",), check=check_segments),
    Topic(files=("animate/i2v_mask*.npz",), check=check_mask),
]

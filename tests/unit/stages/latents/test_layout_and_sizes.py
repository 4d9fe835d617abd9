"""Which frames are coded together, and at which size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stages.latents.layout import Layout, segmented, whole
from stages.latents.video import VideoLatentsConfig
from stages.size import SizeConfig
from wanprep.errors import UsageError
from wanprep.stage import Skipped


@pytest.mark.parametrize(
    ("frames", "repeated", "trimmed"), [(1, 0, 0), (5, 0, 0), (6, 3, 1), (7, 2, 2), (8, 1, 3), (81, 0, 0)]
)
def test_a_whole_clip_is_skipped_filled_up_or_cut(frames: int, repeated: int, trimmed: int) -> None:
    skipped = whole(frames, "skip")
    if repeated:
        assert isinstance(skipped, Skipped)
        assert skipped.value == frames
        assert skipped.reason.startswith(
            f"{frames} frames are not 4n+1 (the nearest below is {frames - trimmed})"
        )
    else:
        assert skipped == Layout(frames, 0, (0,), frames, 0, 0)
    assert whole(frames, "repeat") == Layout(frames + repeated, 0, (0,), frames, repeated, 0)
    assert whole(frames, "trim") == Layout(frames - trimmed, 0, (0,), frames - trimmed, 0, trimmed)


def test_segments_are_those_of_the_official_loop() -> None:
    # 200 frames in segments of 77 that share one: 0, 76, 152 and 29 frames beyond the end.
    assert segmented(200, 77, 1, "repeat") == Layout(77, 1, (0, 76, 152), 200, 29, 0)
    assert segmented(200, 77, 1, "trim") == Layout(77, 1, (0, 76), 153, 0, 47)
    assert segmented(153, 77, 1, "skip") == Layout(77, 1, (0, 76), 153, 0, 0)
    assert isinstance(segmented(154, 77, 1, "skip"), Skipped)
    assert segmented(77, 77, 5, "skip") == Layout(77, 5, (0,), 77, 0, 0)
    assert segmented(3, 77, 5, "repeat") == Layout(77, 5, (0,), 3, 74, 0)
    short = segmented(76, 77, 1, "trim")
    assert isinstance(short, Skipped) and short.reason == "76 frames are fewer than a segment of 77"


@given(st.integers(1, 400), st.sampled_from([5, 9, 77, 81]), st.integers(0, 4))
def test_segments_hold_every_frame(frames: int, length: int, overlap: int) -> None:
    layout = segmented(frames, length, overlap, "repeat")
    assert isinstance(layout, Layout)
    held = {frame for start in layout.starts for frame in range(start, start + length)}
    assert held == set(range(frames + layout.repeated))
    assert layout.repeated < length
    assert layout.used == frames


@pytest.mark.parametrize(
    ("fields", "source", "multiple", "size"),
    [
        ({}, (1920, 1080), 16, (832, 464)),
        ({}, (1080, 1920), 32, (448, 832)),
        ({"area": 921_600}, (1920, 1080), 16, (1280, 720)),
        ({"area": 921_600}, (854, 480), 16, (1280, 704)),
        ({"s2v_area": 720_896}, (1920, 1080), 16, (1088, 640)),
        ({"short_side": 256}, (640, 480), 16, (336, 256)),
        ({"width": 832, "height": 480}, (100, 100), 32, (832, 480)),
        ({"area": 4096}, (1, 1), 32, (64, 64)),
        # What is more exact comes first, so that a size of one's own goes before a preset's area.
        ({"area": 921_600, "short_side": 256}, (640, 480), 16, (336, 256)),
        ({"area": 921_600, "width": 832, "height": 480}, (100, 100), 32, (832, 480)),
        ({"area": 4096}, (4000, 2), 32, (2848, 32)),
    ],
)
def test_sizes(fields: dict[str, int], source: tuple[int, int], multiple: int, size: tuple[int, int]) -> None:
    assert SizeConfig(**fields).of(*source, multiple) == size


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(
        UsageError, match="size 848x480: this autoencoder takes multiples of 32; the nearest is 832x480"
    ):
        SizeConfig(width=848, height=480).of(100, 100, 32)
    with pytest.raises(UsageError, match="a picture of 3000x1 has no size by the S2V rule"):
        SizeConfig(s2v_area=4096).of(3000, 1, 16)
    with pytest.raises(ValidationError, match="width and height go together"):
        SizeConfig(width=832)
    with pytest.raises(ValidationError, match="multiple of 16"):
        SizeConfig(width=833, height=480)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"segment_frames": 80}, "segment_frames 80 is not 4n\\+1"),
        ({"segment_frames": 5, "segment_overlap": 5}, "must be below segment_frames"),
        ({"uneven": "drop"}, "'skip', 'repeat' or 'trim'"),
        ({"precision": "float16"}, "'float32' or 'bfloat16'"),
    ],
)
def test_configs_that_cannot_be(fields: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        VideoLatentsConfig.model_validate(fields)

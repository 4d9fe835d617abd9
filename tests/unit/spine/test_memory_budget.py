"""A worker holds the bytes of frames that its machine and its stages leave it, and no frame beyond."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.media import write_video
from helpers.stages import Count

from schemas import ClipRecord
from wanprep.engine.memory import frame_budget, machine_bytes
from wanprep.errors import MediaError
from wanprep.media.video import WINDOW_BYTES, read_windows, window_frames
from wanprep.scan import look
from wanprep.stage import Resources, StageConfig

GIB = 1 << 30


class Heavy(Count):
    resources = Resources(memory=600 << 20)


def test_more_workers_and_heavier_stages_leave_less() -> None:
    light, heavy = Count(StageConfig()), Heavy(StageConfig())
    alone = frame_budget([light], 1, machine=24 * GIB, process=24 * GIB)
    assert alone > frame_budget([light], 8, machine=24 * GIB, process=24 * GIB) > 0
    assert alone > frame_budget([heavy, light], 1, machine=24 * GIB, process=24 * GIB)
    assert frame_budget([heavy], 1, machine=24 * GIB, process=3 * GIB // 2) < WINDOW_BYTES * 2
    assert machine_bytes() > GIB // 2


@pytest.mark.parametrize(("width", "height"), [(64, 48), (1920, 1080), (3840, 2160), (7680, 4320)])
def test_windows_stay_within_the_budget(width: int, height: int) -> None:
    for budget in (8 << 20, 48 << 20):
        frames = window_frames(width, height, budget)
        assert frames == 1 or frames * width * height * 3 // 2 <= budget


def test_a_frame_over_the_budget_is_refused_in_one_line(tmp_path: Path) -> None:
    path = write_video(tmp_path / "wide.mp4", 2, size=(640, 480))
    media = look(str(path), "video", path.stat().st_size, 0)
    clip = ClipRecord(clip_id="wide", recipe="r", fps=25.0, frames=2)
    with pytest.raises(MediaError, match=r"a frame of 640x480 takes 0 MiB decoded.*use fewer workers"):
        next(read_windows(clip, media, budget=100_000))
    assert sum(len(window) for window in read_windows(clip, media, budget=500_000)) == 2

"""The sample clip's frames and file: fixed by its seed, of the asked size, playable, whole or absent."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from wanprep.sample.clip import Look, plan_clip, render_frames, varied_look, write_sample_clip

Picture = npt.NDArray[Any]
SMALL = (416, 240)


def test_the_same_seed_gives_the_same_bytes() -> None:
    def frames() -> list[bytes]:
        _, poses = plan_clip(2.0, 24, 7, Look())
        return [frame_HWC.tobytes() for frame_HWC in render_frames(poses[5::20], size=SMALL)]

    first = frames()
    assert first == frames()
    assert len(set(first)) == len(first)


def test_frames_are_rgb_pictures_of_the_asked_size() -> None:
    _, poses = plan_clip(0.5, 24, 7, Look())
    frame_HWC = next(render_frames(poses, size=SMALL))
    assert frame_HWC.shape == (240, 416, 3)
    assert frame_HWC.dtype == np.uint8
    assert frame_HWC.std() > 30


def test_looks_change_the_picture() -> None:
    _, poses = plan_clip(0.5, 24, 7, Look())

    def picture(look: Look) -> Picture:
        return next(render_frames(poses[6:7], size=SMALL, look=look)).astype(np.int16)

    plain_HWC = picture(Look())
    red_HWC = picture(Look(knit_rgb=(200, 40, 40)))
    changed_HW = np.abs(red_HWC - plain_HWC).max(-1) > 40
    assert 0.05 < changed_HW.mean() < 0.4
    assert (red_HWC - plain_HWC)[changed_HW][:, 0].mean() > 40
    moved_HWC = picture(Look(offset_x=0.2))
    columns = np.arange(SMALL[0])
    centre, moved = ((red * columns).sum() / red.sum() for red in (_teal(plain_HWC), _teal(moved_HWC)))
    assert moved - centre == pytest.approx(0.2 * SMALL[0], abs=6)


def _teal(picture_HWC: Picture) -> Picture:
    """How many pixels of each column have the cardigan's colour."""
    return np.asarray(((picture_HWC[..., 2] - picture_HWC[..., 0]) > 50)[120:].sum(0))


def test_varied_looks_differ_and_repeat() -> None:
    looks = [varied_look(seed) for seed in range(12)]
    assert looks == [varied_look(seed) for seed in range(12)]
    assert {look.hair for look in looks} == {"bob", "short"}
    assert all(first != second for first, second in pairwise(looks))
    with pytest.raises(ValueError, match=r"Look\.scale is 9"):
        replace(looks[0], scale=9)


def test_the_file_has_the_asked_pictures_and_sound(tmp_path: Path) -> None:
    counts: list[tuple[int, int]] = []
    path = write_sample_clip(
        tmp_path / "new" / "clip.mp4",
        seconds=1.0,
        size=SMALL,
        fps=25,
        look=varied_look(2),
        progress=lambda done, total: counts.append((done, total)),
    )
    assert counts == [(index + 1, 25) for index in range(25)]
    assert [entry.name for entry in path.parent.iterdir()] == ["clip.mp4"]
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.width, video.codec_context.height) == SMALL
        assert video.codec_context.name == "h264"
        assert video.average_rate == 25
        assert audio.codec_context.name == "aac"
        assert audio.codec_context.sample_rate == 16_000
        times = [frame.time for frame in container.decode(video)]
        assert times == pytest.approx([index / 25 for index in range(25)])
        container.seek(0)
        heard = np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(audio)])
    assert heard.size / 16_000 == pytest.approx(1.0, abs=0.15)
    assert 0.05 < np.sqrt(np.mean(heard**2)) < 0.5


def test_a_failed_clip_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample_clip(tmp_path / "clip.mp4", seconds=0.5, size=SMALL, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_an_odd_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="415x240 cannot be encoded"):
        write_sample_clip(tmp_path / "clip.mp4", size=(415, 240))

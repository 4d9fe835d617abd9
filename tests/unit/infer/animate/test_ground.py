"""Backgrounds of later segments: read once from front to back, from the store or from the driving video alike."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.animate_clip import background, drawn, replace_mask
from helpers.animate_store import FRAMES, MODEL, make_store
from helpers.animate_store import replace_mask as stored_mask
from hypothesis import given
from hypothesis import strategies as st

from wanprep.animate.replacement_ground import ground_THWC, video_at_size_THWC
from wanprep.animate.segments import segments
from wanprep.media.video import read_windows
from wanprep_infer.conditioning.ground import StoredGround, VideoGround, held_pictures
from wanprep_infer.conditioning.unfit import UnfitConditioning


class Numbered:
    """Pictures whose pixels say which they are, in pieces of any size."""

    def __init__(self, frames: int, piece: int) -> None:
        self.frames, self.piece = frames, piece
        self.started: list[int] = []

    def pictures(self, start: int) -> Any:
        self.started.append(start)
        for low in range(start, self.frames, self.piece):
            numbers = np.arange(low, min(low + self.piece, self.frames), dtype=np.uint8)
            yield np.broadcast_to(numbers[:, None, None, None], (len(numbers), 2, 2, 3))


@given(
    frames=st.integers(1, 200),
    length=st.sampled_from([9, 13, 21, 77]),
    overlap=st.sampled_from([1, 5]),
    piece=st.integers(1, 20),
)
def test_every_segment_finds_its_frames_and_no_more_than_a_segment_is_held(
    frames: int, length: int, overlap: int, piece: int
) -> None:
    cut = segments(frames, length, overlap)
    shown = [cut.indices_T[start + overlap : stop] for start, stop in cut.windows[1:]]
    source = Numbered(frames, piece)
    count = 0
    for frames_T, held in zip(shown, held_pictures(source, shown), strict=True):
        assert [held[int(frame)][0, 0, 0] for frame in frames_T] == frames_T.tolist()
        assert len(held) <= length + piece
        count += 1
    assert count == len(shown)
    assert len(source.started) == (1 if shown else 0), "the source is read once"


def test_pictures_of_the_store_begin_anywhere_and_jpeg_is_black_again() -> None:
    pictures = drawn(20)
    for codec in ("webp-lossless", "jpeg"):
        ground = StoredGround(
            background(pictures.background_THWC, codec), replace_mask(pictures.replaced_THW)
        )
        made_THWC = np.concatenate(list(ground.pictures(3)))
        assert not made_THWC[pictures.replaced_THW[3:]].any()
        difference = np.abs(made_THWC.astype(int) - pictures.background_THWC[3:])
        assert difference.mean() < 4 if codec == "jpeg" else not difference.any()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_store(tmp_path_factory.mktemp("ground"), {"replace_mask": stored_mask()}).clip("dance")


@pytest.mark.parametrize("start", [0, 7, 20])
def test_the_driving_video_gives_what_the_stages_make_of_it(clip: Any, start: int) -> None:
    mask = clip.replace_mask
    store = clip._store
    windows = read_windows(clip.record, store.media_records()[clip.record.video])
    wanted_THWC = np.concatenate(
        [
            ground_THWC(
                video_at_size_THWC(window, MODEL), mask.masks_THW(window.start, window.start + len(window))
            )
            for window in windows
        ]
    )
    made_THWC = np.concatenate(list(VideoGround.open(clip.record, mask).pictures(start)))
    assert made_THWC.shape == (FRAMES - start, MODEL[1], MODEL[0], 3)
    assert np.array_equal(made_THWC, wanted_THWC[start:])


def test_a_video_that_is_gone_or_another_is_told_in_one_sentence(tmp_path: Path) -> None:
    clip = make_store(tmp_path, {"replace_mask": stored_mask()}).clip("dance")
    mask, path = clip.replace_mask, Path(clip.record.video)
    content = path.read_bytes()

    def told() -> str:
        with pytest.raises(UnfitConditioning) as error:
            VideoGround.open(clip.record, mask)
        text = str(error.value)
        assert text.startswith("clip dance: ") and "\n" not in text and str(path) in text
        assert "put the file back, or add the stage `background`" in text
        return text

    path.write_bytes(content + b"\0" * 8)
    assert "has changed since the clip was prepared" in told()
    path.write_bytes(content[: len(content) // 3])
    told()
    os.unlink(path)
    told()
    path.write_bytes(content)
    VideoGround.open(clip.record, mask)


def test_a_video_that_breaks_on_the_way_is_told_in_one_sentence(tmp_path: Path) -> None:
    clip = make_store(tmp_path, {"replace_mask": stored_mask()}).clip("dance")
    ground = VideoGround.open(clip.record, clip.replace_mask)
    os.unlink(clip.record.video)
    with pytest.raises(UnfitConditioning, match="put the file that the clip was prepared from back"):
        next(ground.pictures(0))


def test_a_clip_without_a_video_is_told_in_one_sentence() -> None:
    from schemas import ClipRecord

    with pytest.raises(UnfitConditioning, match="and the clip names no video: put the file back"):
        VideoGround.open(ClipRecord(clip_id="dance", recipe="test"), stored_mask())


def test_a_video_is_read_through_once_while_it_stays(clip: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    VideoGround.open(clip.record, clip.replace_mask)
    looks: list[str] = []
    monkeypatch.setattr("wanprep.scan.look", lambda *given: looks.append(given[0]))
    VideoGround.open(clip.record, clip.replace_mask)
    assert not looks

"""The stage background: the pictures that background_latents codes, kept as image files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from golden.discovery import OWN as GOLDEN
from golden.golden_file import GoldenFile
from helpers.latent_clips import Frames, moving_THWC, windows
from helpers.mask_clips import clip_of, replace_record
from helpers.media import write_video
from hypothesis import given, settings
from hypothesis import strategies as st

import wanprep
from schemas import BackgroundRecord, MaskRecord, Record, ReplaceMaskRecord
from schemas.pictures import encode_picture
from stages.background import Background, BackgroundConfig
from wanprep.key import stage_spec
from wanprep.stage import ClipContext, Skipped, Stage, StageConfig

FRAMES, WIDTH, HEIGHT = 7, 96, 64


def kept(
    folder: Path, frames_THWC: Frames, mask: ReplaceMaskRecord, cuts: tuple[int, ...] = (), **config: Any
) -> BackgroundRecord:
    stage = Background(BackgroundConfig.model_validate(config))
    frames, height, width = frames_THWC.shape[:3]
    fold = stage.begin(ClipContext(clip_of(frames, width, height), {}, folder), {"replace_mask": mask})
    for window in windows(frames_THWC, cuts):
        fold.add(window)
    record = fold.finish({})
    return replace(record, blocks=np.asarray(record.blocks))


def moving_mask(folder: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> ReplaceMaskRecord:
    masks_THW = np.zeros((FRAMES, HEIGHT, WIDTH), bool)
    for index in range(FRAMES):
        masks_THW[index, 20:40, 10 + index : 30 + index] = True
    return replace_record(
        folder, masks_THW, iterations=0, size={"width": size[0], "height": size[1]}, video=(WIDTH, HEIGHT)
    )


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Frames, ReplaceMaskRecord, BackgroundRecord]:
    folder = tmp_path_factory.mktemp("background")
    frames_THWC, mask = moving_THWC(FRAMES), moving_mask(folder)
    return frames_THWC, mask, kept(folder, frames_THWC, mask)


def test_frames_are_the_videos_own_and_black_where_the_person_is_replaced(
    drawn: tuple[Frames, ReplaceMaskRecord, BackgroundRecord],
) -> None:
    frames_THWC, mask, record = drawn
    assert (record.codec, record.frames, record.width, record.height) == (
        "webp-lossless",
        FRAMES,
        WIDTH,
        HEIGHT,
    )
    wanted_THWC = frames_THWC * ~mask.masks_THW()[..., None]
    np.testing.assert_array_equal(record.frames_THWC(), wanted_THWC)
    assert wanted_THWC.any() and (wanted_THWC[mask.masks_THW()] == 0).all()


@settings(max_examples=20)
@given(st.integers(0, FRAMES), st.integers(0, FRAMES))
def test_any_range_is_read_by_itself(
    drawn: tuple[Frames, ReplaceMaskRecord, BackgroundRecord], one: int, other: int
) -> None:
    record = drawn[2]
    start, stop = sorted((one, other))
    np.testing.assert_array_equal(record.frames_THWC(start, stop), record.frames_THWC()[start:stop])


@settings(max_examples=10)
@given(st.sets(st.integers(1, FRAMES - 1)))
def test_windows_of_any_split_give_the_same_record(
    drawn: tuple[Frames, ReplaceMaskRecord, BackgroundRecord],
    tmp_path_factory: pytest.TempPathFactory,
    cuts: set[int],
) -> None:
    frames_THWC, mask, record = drawn
    again = kept(tmp_path_factory.getbasetemp(), frames_THWC, mask, tuple(cuts))
    np.testing.assert_array_equal(again.blocks, record.blocks)
    np.testing.assert_array_equal(again.offsets_T, record.offsets_T)


def test_pictures_are_the_official_ones(tmp_path: Path) -> None:
    """From the vectors of the whole preprocessing: letterboxed to the size, black where the official code has it."""
    file = GoldenFile(GOLDEN / "animate" / "preprocess_e2e.npz")
    fields = next(
        fields
        for fields in map(file.case, file.cases())
        if fields["replace"] and fields["frames"].shape[1] == fields["frames"].shape[2]
    )
    video_THWC = fields["frames"][fields["indices"] % len(fields["frames"])]
    mask = replace_record(
        tmp_path,
        fields["sam_masks"].astype(bool),
        video=(video_THWC.shape[2], video_THWC.shape[1]),
        size={"area": int(np.prod(fields["area"]))},
        kernel=int(fields["k"]),
        compat="official",
        **{name: int(fields[name]) for name in ("iterations", "w_len", "h_len")},
    )
    np.testing.assert_array_equal(kept(tmp_path, video_THWC, mask, (1,)).frames_THWC(), fields["src_bg"])


def test_letterboxed_to_another_aspect(tmp_path: Path) -> None:
    frames_THWC = moving_THWC(FRAMES)
    record = kept(tmp_path, frames_THWC, moving_mask(tmp_path, (64, 64)))
    shown_THWC = record.frames_THWC()
    assert shown_THWC.shape == (FRAMES, 64, 64, 3)
    assert not shown_THWC[:, :10].any() and not shown_THWC[:, -10:].any() and shown_THWC[:, 11:53].any()


def test_jpeg_is_smaller_and_near(
    drawn: tuple[Frames, ReplaceMaskRecord, BackgroundRecord], tmp_path: Path
) -> None:
    frames_THWC, mask, record = drawn
    lossy = kept(tmp_path, frames_THWC, mask, codec="jpeg", jpeg_quality=90)
    assert lossy.codec == "jpeg" and lossy.blocks.nbytes < record.blocks.nbytes
    error_THWC = lossy.frames_THWC().astype(int) - record.frames_THWC()
    assert 0 < np.sqrt((error_THWC**2).mean()) < 8


def test_frames_that_are_not_there_and_damaged_ones_are_told(
    drawn: tuple[Frames, ReplaceMaskRecord, BackgroundRecord],
) -> None:
    record = drawn[2]
    with pytest.raises(IndexError, match="frames 3:8 of a record that has 7"):
        record.frames_THWC(3, 8)
    torn = np.array(record.blocks)
    torn[int(record.offsets_T[2]) : int(record.offsets_T[3])] = 0
    damaged = replace(record, blocks=torn)
    np.testing.assert_array_equal(damaged.frames_THWC(0, 2), record.frames_THWC(0, 2))
    with pytest.raises(ValueError, match="is no webp-lossless picture"):
        damaged.frames_THWC(2, 3)
    with pytest.raises(ValueError, match="larger than any"):
        replace(record, width=1 << 20).frames_THWC(0, 1)
    small = encode_picture(np.zeros((8, 8, 3), np.uint8), "webp-lossless")
    other = replace(
        record, frames=1, blocks=np.frombuffer(small, np.uint8), offsets_T=np.array([0, len(small)])
    )
    with pytest.raises(ValueError, match="frame 0 is a picture of 8x8, not of 96x64"):
        other.frames_THWC()


def test_codec_and_quality_are_in_the_key() -> None:
    specs = [
        stage_spec(Background(BackgroundConfig.model_validate(config)))
        for config in ({}, {"codec": "jpeg"}, {"codec": "jpeg", "jpeg_quality": 90})
    ]
    assert all(one != other for one, other in pairwise(specs))


class NoMask(Stage[StageConfig]):
    """A `mask` that finds nobody."""

    name: ClassVar[str] = "mask"
    record: ClassVar[type[Record]] = MaskRecord
    Config: ClassVar[type[StageConfig]] = StageConfig

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> Skipped:
        return Skipped("the mask is empty", 0.0)


def test_a_clip_without_a_person_is_skipped_with_the_masks_reason(
    tmp_path: Path, add_stages: Callable[..., None]
) -> None:
    add_stages(NoMask)
    video = write_video(tmp_path / "clip.mp4", 3, size=(64, 64))
    recipe = {"stages": {"mask": {}, "replace_mask": {}, "background": {}}}
    summary = wanprep.run(video, store=tmp_path / "store", recipe=recipe, engine="inline", workers=1)
    assert (summary.failed, summary.stages["background"].skipped) == (0, 1)
    reasons = {row.stage: row.reason for row in wanprep.open(tmp_path / "store").outcomes()}
    assert reasons["background"] == "replace_mask: mask: the mask is empty"

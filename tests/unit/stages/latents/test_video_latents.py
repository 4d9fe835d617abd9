"""The stage video_latents with the codec without weights: its record does not depend on how a clip is cut."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from helpers.latent_clips import HEIGHT, WIDTH, moving_THWC, video_latents, video_record, windows

from schemas import ClipRecord
from stages.latents.fit import Fit, fit_window
from stages.latents.video import VideoLatents, VideoLatentsConfig
from wanprep.errors import MediaError, UsageError
from wanprep.key import stage_spec
from wanprep.models.dct_codec import dct_codec
from wanprep.models.vae_preview import decode_frames, decode_preview
from wanprep.stage import ClipContext, Skipped


@pytest.mark.parametrize(("backend", "channels", "stride"), [("dct-z16", 16, 8), ("dct-z48", 48, 16)])
def test_the_record_says_what_it_is(tmp_path: Path, backend: str, channels: int, stride: int) -> None:
    frames_THWC = moving_THWC(9)
    record = video_record(tmp_path, frames_THWC, backend=backend)
    assert (record.view, record.backend, record.vae) == ("video", "dct", f"{backend}-v1")
    assert (record.precision, record.device, record.tile, record.vae_digest) == ("float32", "cpu", None, None)
    assert (record.width, record.height, record.fit) == (WIDTH, HEIGHT, "cover")
    assert (record.frames, record.frames_repeated, record.frames_left_out) == (9, 0, 0)
    assert (record.segment_frames, record.segment_starts, record.segments) == (9, [0], 1)
    assert (record.stride_time, record.stride_space, record.channels) == (4, stride, channels)
    assert record.latents_TCHW.shape == (3, channels, HEIGHT // stride, WIDTH // stride)
    assert record.latents_TCHW.dtype == np.float16
    codec = dct_codec(record.vae)
    latents_CTHW = record.segment_CTHW()
    np.testing.assert_array_equal(
        latents_CTHW, np.moveaxis(codec.encode(frames_THWC).astype(np.float16), 0, 1)
    )
    np.testing.assert_allclose(
        record.segment_CTHW(whitened=True), latents_CTHW / codec.std_C[:, None, None, None], rtol=1e-6
    )
    with pytest.raises(IndexError, match="segment 1 of a record that has 1"):
        record.segment_CTHW(1)


@pytest.mark.parametrize("cuts", [(), (1,), (2, 3, 7), tuple(range(13))])
def test_windows_may_be_cut_anywhere(tmp_path: Path, cuts: tuple[int, ...]) -> None:
    frames_THWC = moving_THWC(13)
    record = video_record(tmp_path, frames_THWC, cuts, storage="float32")
    np.testing.assert_array_equal(record.latents_TCHW[:], dct_codec("dct-z16-v1").encode(frames_THWC))
    in_segments = video_record(tmp_path, frames_THWC, cuts, segment_frames=5, storage="float32")
    assert in_segments.segment_starts == [0, 4, 8]


@pytest.mark.parametrize("overlap", [0, 1, 3])
def test_segments_are_coded_each_on_its_own(tmp_path: Path, overlap: int) -> None:
    frames_THWC = moving_THWC(15)
    record = video_record(
        tmp_path,
        frames_THWC,
        (4, 6),
        segment_frames=5,
        segment_overlap=overlap,
        uneven="repeat",
        storage="float32",
    )
    codec = dct_codec("dct-z16-v1")
    last = record.segment_starts[-1]
    assert record.segments >= 3 and last + 5 == 15 + record.frames_repeated
    padded_THWC = np.concatenate([frames_THWC, np.repeat(frames_THWC[-1:], record.frames_repeated, axis=0)])
    for index, start in enumerate(record.segment_starts):
        expected_TCHW = codec.encode(padded_THWC[start : start + 5])
        np.testing.assert_array_equal(record.segment_CTHW(index), np.moveaxis(expected_TCHW, 0, 1))


def test_uneven_clips_are_skipped_filled_up_or_cut(tmp_path: Path) -> None:
    frames_THWC = moving_THWC(7)
    skipped = video_latents(tmp_path, frames_THWC)
    assert isinstance(skipped, Skipped)
    assert skipped.reason == "7 frames are not 4n+1 (the nearest below is 5); set uneven to repeat or trim"
    codec = dct_codec("dct-z16-v1")
    cut = video_record(tmp_path, frames_THWC, (3,), uneven="trim", storage="float32")
    assert (cut.frames, cut.frames_left_out) == (5, 2)
    np.testing.assert_array_equal(cut.latents_TCHW[:], codec.encode(frames_THWC[:5]))
    filled = video_record(tmp_path, frames_THWC, (3,), uneven="repeat", storage="float32")
    assert (filled.frames, filled.frames_repeated, filled.segment_frames) == (7, 2, 9)
    np.testing.assert_array_equal(
        filled.latents_TCHW[:], codec.encode(frames_THWC[[0, 1, 2, 3, 4, 5, 6, 6, 6]])
    )


@pytest.mark.parametrize("fit", ["cover", "letterbox", "stretch"])
def test_frames_come_to_the_size(fit: Fit) -> None:
    frames_THWC = moving_THWC(2, 160, 96)
    (window,) = windows(frames_THWC)
    for size in ((96, 96), (160, 64), (320, 192), (64, 128)):
        fitted_THWC = fit_window(window, size, fit)
        assert fitted_THWC.shape == (2, size[1], size[0], 3)
        black = (fitted_THWC == 0).all(axis=(0, 3))
        if fit == "letterbox" and size != (320, 192):
            outside = black.all(axis=0).sum() * size[1] + black.all(axis=1).sum() * size[0]
            inner = min(size[0] / 160, size[1] / 96) ** 2 * 160 * 96
            assert size[0] * size[1] - outside == pytest.approx(inner, rel=0.1)
        else:
            assert not black.all(axis=0).any() and not black.all(axis=1).any()
    middle_THWC = fit_window(window, (96, 96), "cover")
    np.testing.assert_array_equal(middle_THWC, frames_THWC[:, :, 32:128])


def test_a_strip_is_refused_where_it_would_need_endless_pictures(tmp_path: Path) -> None:
    strip_THWC = moving_THWC(1, 2000, 8)
    with pytest.raises(MediaError, match="2000x8 is too long a strip to fill 64x64; letterbox or stretch it"):
        video_latents(tmp_path, strip_THWC, size={"width": 64, "height": 64})
    assert video_record(tmp_path, strip_THWC, size={"width": 64, "height": 64}, fit="letterbox").width == 64


def test_a_size_that_the_codec_does_not_take_is_one_line(tmp_path: Path) -> None:
    size = {"width": 80, "height": 64}
    assert video_record(tmp_path, moving_THWC(1), size=size).width == 80
    with pytest.raises(
        UsageError, match="size 80x64: this autoencoder takes multiples of 32; the nearest is 64x64"
    ):
        video_latents(tmp_path, moving_THWC(1), size=size, backend="dct-z48")


def test_previews_show_the_clip(tmp_path: Path) -> None:
    frames_THWC = moving_THWC(9)
    record = video_record(tmp_path, frames_THWC, segment_frames=5, segment_overlap=1)
    for segment, start in ((0, 0), (1, 4)):
        shown_THWC = decode_preview(record, segment=segment)
        assert shown_THWC.shape == (5, HEIGHT, WIDTH, 3) and shown_THWC.dtype == np.uint8
        error = shown_THWC.astype(float) - frames_THWC[start : start + 5]
        assert np.sqrt(np.mean(error**2)) < 20
        assert np.corrcoef(shown_THWC.ravel(), frames_THWC[start : start + 5].ravel())[0, 1] > 0.9
    assert len(decode_preview(record, frames=1)) == 1
    assert len(decode_preview(record, frames=3)) == 3
    assert [len(part) for part in decode_frames(record)] == [1, 4]
    with pytest.raises(IndexError, match="segment 2 of a record that has 2"):
        decode_preview(record, segment=2)


def peak_bytes(folder: Path, count: int) -> int:
    """Of a clip of `count` windows of 8 frames."""
    piece_THWC = moving_THWC(8)
    stage = VideoLatents(
        VideoLatentsConfig.model_validate({"uneven": "trim", "size": {"area": WIDTH * HEIGHT}})
    )
    stage.setup()
    clip = ClipRecord(clip_id="clip", recipe="recipe", frames=8 * count, width=WIDTH, height=HEIGHT, fps=25.0)
    fold = stage.begin(ClipContext(clip, {}, folder), {})
    (window,) = windows(piece_THWC)
    fold.add(window)
    tracemalloc.start()
    for _ in range(count - 1):
        (window,) = windows(piece_THWC)
        fold.add(window)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert fold.finish({})
    return peak


def test_a_long_clip_needs_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    # 1,600 frames make 1.2 MB of latents: enough to move to the disk.
    assert peak_bytes(tmp_path, 200) < peak_bytes(tmp_path, 20) + (1 << 20)


def test_the_key_holds_what_determines_latents_and_nothing_else() -> None:
    def spec(**config: object) -> object:
        return stage_spec(VideoLatents(VideoLatentsConfig.model_validate(config)))

    base = spec()
    assert spec(device="cpu") == base
    assert spec(model="wan2.2-vae") == base  # the codec uses no model
    for change in (
        {"backend": "dct-z48"},
        {"size": {"area": 4096}},
        {"uneven": "trim"},
        {"tile": 256},
        {"storage": "float32"},
        {"segment_frames": 77},
    ):
        assert spec(**change) != base
    assert VideoLatents(VideoLatentsConfig()).unavailable() is None


def test_pictures_that_do_not_come_are_an_error(tmp_path: Path) -> None:
    stage = VideoLatents(VideoLatentsConfig.model_validate({"size": {"width": WIDTH, "height": HEIGHT}}))
    stage.setup()
    clip = ClipRecord(clip_id="clip", recipe="recipe", frames=9, width=WIDTH, height=HEIGHT, fps=25.0)
    fold = stage.begin(ClipContext(clip, {}, tmp_path), {})
    for window in windows(moving_THWC(5)):
        fold.add(window)
    with pytest.raises(ValueError, match="5 of 9 pictures came"):
        fold.finish({})

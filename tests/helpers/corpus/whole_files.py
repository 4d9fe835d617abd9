"""Files that are whole, though unusual: most are prepared, with the right size, frames and times."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from helpers.corpus.case import Case, done, failed, skipped
from helpers.corpus.damage import sample, turned_45
from helpers.corpus.muxing import (
    remuxed,
    write_alpha,
    write_cover,
    write_gif,
    write_many,
    write_times,
    write_two_sizes,
)
from helpers.media import trim_by_edit_list, turn, write_sound, write_video

_WRAP = (1 << 33) / 90_000  # seconds at which the clock of a transport stream begins again (ISO/IEC 13818-1)


def video(frames: int = 6, **options: object) -> Callable[[Path], Path]:
    return partial(write_video, frames=frames, **options)  # type: ignore[arg-type]


def _turned(path: Path, degrees: int) -> Path:
    return turn(write_video(path, 6), degrees)


def _trimmed(path: Path) -> Path:
    return trim_by_edit_list(write_video(path, 40, b_frames=2), 0.4, 0.4)


def _png(path: Path, size: tuple[int, int]) -> Path:
    return write_video(path, 3, codec="png", pixel_format="rgb24", size=size)


def _shapes() -> list[Case]:
    return [
        done("plain.mp4", "H.264", video(flat=True), size=(64, 48), frames=6, levels=tuple(range(6))),
        done("with_sound.mp4", "H.264 and AAC", sample, size=(64, 48), frames=60),
        done("two_pixels.mp4", "2x2 pixels", video(size=(2, 2)), size=(2, 2), frames=6),
        done("one_pixel.mkv", "1x1 pixel", video(size=(1, 1), codec="ffv1"), size=(1, 1), frames=6),
        done("column.mov", "1x64 pixels", partial(_png, size=(1, 64)), size=(1, 64), frames=3),
        done("wide.mov", "16,384x4 pixels", partial(_png, size=(16_384, 4)), size=(16_384, 4), frames=3),
        done("tall.mov", "4x8,192 pixels", partial(_png, size=(4, 8192)), size=(4, 8192), frames=3),
        failed("too_wide.mov", "16,386x4 pixels", "over 16,384 pixels", partial(_png, size=(16_386, 4))),
        done(
            "odd_420.mkv", "301x217, 4:2:0", video(size=(301, 217), codec="ffv1"), size=(301, 217), frames=6
        ),
        done(
            "odd_444.mp4",
            "301x217, 4:4:4",
            video(size=(301, 217), pixel_format="yuv444p"),
            size=(301, 217),
            frames=6,
        ),
        done(
            "prime.mkv",
            "67x53",
            video(size=(67, 53), codec="ffv1", pixel_format="bgr0"),
            size=(67, 53),
            frames=6,
        ),
        failed("two_sizes.h264", "the size changes half way", "size", write_two_sizes),
        done("turned_90.mp4", "turned by 90 degrees", partial(_turned, degrees=90), size=(48, 64), frames=6),
        done(
            "turned_180.mp4", "turned by 180 degrees", partial(_turned, degrees=180), size=(64, 48), frames=6
        ),
        done(
            "turned_270.mp4", "turned by 270 degrees", partial(_turned, degrees=270), size=(48, 64), frames=6
        ),
        failed("turned_45.mp4", "turned by 45 degrees", "only quarter turns", turned_45),
    ]


def _formats() -> list[Case]:
    same = {"size": (64, 48), "frames": 6}
    alpha = {"size": (64, 48), "frames": 5}
    return [
        done("ten_bit.mp4", "H.264, 10 bits", video(pixel_format="yuv420p10le"), **same),
        done("ten_bit_422.mp4", "H.264, 10 bits, 4:2:2", video(pixel_format="yuv422p10le"), **same),
        done("prores.mov", "ProRes 4:2:2", video(codec="prores_ks", pixel_format="yuv422p10le"), **same),
        done(
            "full_range.mkv", "motion JPEG, full range", video(codec="mjpeg", pixel_format="yuvj420p"), **same
        ),
        done("gray.mkv", "gray", video(codec="ffv1", pixel_format="gray"), **same),
        done("gray_16.mkv", "gray, 16 bits", video(codec="ffv1", pixel_format="gray16le"), **same),
        done(
            "alpha.mov",
            "QuickTime Animation with alpha",
            partial(write_alpha, codec="qtrle", pixel_format="argb"),
            **alpha,
        ),
        done(
            "alpha_png.mov", "PNG with alpha", partial(write_alpha, codec="png", pixel_format="rgba"), **alpha
        ),
        done(
            "alpha.webm",
            "VP9 with alpha",
            partial(write_alpha, codec="libvpx-vp9", pixel_format="yuva420p"),
            **alpha,
        ),
        done(
            "alpha_ffv1.mkv", "FFV1, BGRA", partial(write_alpha, codec="ffv1", pixel_format="bgra"), **alpha
        ),
        done(
            "alpha_prores.mov",
            "ProRes 4444 with alpha",
            partial(write_alpha, codec="prores_ks", pixel_format="yuva444p10le"),
            **alpha,
        ),
        done("mpeg2.mpg", "MPEG-2 program stream", video(codec="mpeg2video"), size=(64, 48)),
        done("vp8.webm", "VP8", video(codec="libvpx"), **same),
        done("raw.h264", "H.264 without a container", video(), **same),
        done("moving.gif", "GIF, 6 pictures", partial(write_gif, frames=6), **same),
        skipped("still.gif", "GIF, 1 picture", "a single frame has no flow", partial(write_gif, frames=1)),
        skipped("still.mp4", "1 frame", "a single frame has no flow", video(1)),
    ]


def _times() -> list[Case]:
    irregular = [0, 0.04, 0.1, 0.3, 0.33, 0.35]
    return [
        # 6 frames in 0.39 s: the average rate is kept, and each instant shows what was on screen then.
        done(
            "variable.mkv",
            "variable frame rate",
            video(times=irregular, flat=True),
            size=(64, 48),
            frames=6,
            levels=(0, 1, 2, 2, 2, 4),
            variable=True,
        ),
        done(
            "fast.mkv",
            "300 frames a second",
            video(60, fps=300, flat=True),
            frames=60,
            levels=tuple(i % 20 for i in range(60)),
            variable=False,
        ),
        done(
            "slow.mp4",
            "1 frame a second",
            video(5, fps=1, flat=True),
            frames=5,
            levels=(0, 1, 2, 3, 4),
            variable=False,
        ),
        done(
            "slide_show.mkv",
            "a picture every 20 seconds",
            video(3, times=[0, 20, 40], flat=True),
            frames=3,
            levels=(0, 1, 2),
        ),
        failed("too_fast.mp4", "50,000 frames a second", "frames per second", video(60, fps=50_000)),
        done(
            "late.mkv",
            "timestamps from 1,000,000 s on",
            partial(remuxed, shift=1e6),
            frames=24,
            levels=tuple(i % 20 for i in range(24)),
        ),
        done(
            "late.ts",
            "transport stream from 90,000 s on",
            partial(remuxed, shift=90_000.0),
            frames=24,
            levels=tuple(i % 20 for i in range(24)),
        ),
        done(
            "wrap.ts",
            "transport stream whose clock begins again",
            partial(remuxed, shift=_WRAP - 0.5),
            frames=24,
            levels=tuple(i % 20 for i in range(24)),
        ),
        done(
            "early.mkv",
            "timestamps from -0.4 s on",
            partial(write_times, milliseconds=range(-400, 200, 40)),
            frames=15,
            levels=tuple(range(15)),
            variable=False,
        ),
        done("trimmed.mp4", "an edit list shows 0.4 s of 1.6 s", _trimmed, frames=10),
        failed(
            "far_apart.mkv",
            "two days between two frames",
            "jump by 172,",
            partial(write_times, milliseconds=[0, 40, 80, 172_800_000]),
        ),
    ]


def _streams() -> list[Case]:
    return [
        failed("sound_only.mp4", "sound alone", "it is sound only (aac, 0.5 s)", write_sound),
        failed("sound_only.mkv", "sound alone, Matroska", "it is sound only (aac, 0.", write_sound),
        done("video_only.mp4", "video alone", video(), frames=6),
        done(
            "many.mkv",
            "3 videos and 8 sound tracks",
            partial(write_many, videos=3, sounds=8),
            frames=6,
            levels=(0,) * 6,
        ),
        done(
            "many_sounds.mp4",
            "1 video and 40 sound tracks",
            partial(write_many, videos=1, sounds=40),
            frames=6,
            levels=(0,) * 6,
        ),
        failed(
            "cover_only.mp4",
            "sound with a cover picture",
            "it is sound only",
            partial(write_cover, video=False),
        ),
        done(
            "cover_first.mp4",
            "a cover picture before the video",
            partial(write_cover, video=True),
            size=(64, 48),
            frames=6,
            levels=tuple(range(6)),
        ),
    ]


def cases() -> list[Case]:
    return [*_shapes(), *_formats(), *_times(), *_streams()]

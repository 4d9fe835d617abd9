"""What is decoded is what was drawn: upright, in every pixel format, alpha left out; and files that lack their end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.corpus.damage import patched
from helpers.corpus.muxing import write_alpha
from helpers.media import cut_file, frame_HWC, turn, write_sound, write_video

from schemas import MediaRecord
from wanprep.clip import make_clips
from wanprep.errors import MediaError
from wanprep.inputs import InputClip
from wanprep.media.audio import read_audio
from wanprep.media.ebml import lacks_end
from wanprep.media.geometry import Size, fit_short_side
from wanprep.media.probe import probe
from wanprep.media.video import read_windows
from wanprep.scan import scan
from wanprep.timeline import TimelineConfig


def pictures_THWC(path: Path, size: Size | None = None) -> np.ndarray:
    media: MediaRecord = scan({str(path): "video"}, {})[0][str(path)]
    inputs = [InputClip(clip_id="a", video=str(path))]
    (clip,) = make_clips(inputs, {str(path): media}, TimelineConfig(), "recipe")
    assert clip.why_not is None
    return np.concatenate([window.rgb_THWC(size) for window in read_windows(clip, media)])


@pytest.mark.parametrize("size", [None, (32, 24)])
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turned_pictures_stand_upright(degrees: int, size: Size | None, tmp_path: Path) -> None:
    plain_THWC = pictures_THWC(write_video(tmp_path / "plain.mp4", 3), size)
    turned = turn(write_video(tmp_path / "turned.mp4", 3), degrees)
    asked = (size[1], size[0]) if size and degrees != 180 else size
    wanted_THWC = np.rot90(plain_THWC, -degrees // 90, axes=(1, 2))
    np.testing.assert_array_equal(pictures_THWC(turned, asked), wanted_THWC)


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format", "error"),
    [
        ("a.mp4", "libx264", "yuv420p10le", 4),
        ("a.mp4", "libx264", "yuv422p10le", 4),
        ("a.mp4", "libx264", "yuv444p", 4),
        ("a.mov", "prores_ks", "yuv422p10le", 4),
        ("a.mkv", "mjpeg", "yuvj420p", 6),
        ("a.mkv", "ffv1", "gray", 1),
        ("a.mkv", "ffv1", "gray16le", 1),
        ("a.mkv", "ffv1", "bgr0", 0),
        ("a.mov", "png", "rgb24", 0),
    ],
)
def test_every_pixel_format_gives_the_same_pictures(
    name: str, codec: str, pixel_format: str, error: int, tmp_path: Path
) -> None:
    """Eight-bit, ten-bit, gray, subsampled or not: the mean error is what the codec loses, in levels of 255."""
    path = write_video(tmp_path / name, 3, codec=codec, pixel_format=pixel_format)
    drawn_THWC = np.stack([frame_HWC(index) for index in range(3)]).astype(np.int16)
    assert np.abs(pictures_THWC(path) - drawn_THWC).mean() <= error


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [("a.mov", "qtrle", "argb"), ("a.mov", "png", "rgba"), ("a.mkv", "ffv1", "bgra")],
)
def test_alpha_is_left_out(name: str, codec: str, pixel_format: str, tmp_path: Path) -> None:
    """Colours under a transparent part are given as they are, neither black nor mixed."""
    path = write_alpha(tmp_path / name, codec, pixel_format, frames=3)
    np.testing.assert_array_equal(pictures_THWC(path), np.stack([frame_HWC(index) for index in range(3)]))


def test_sound_of_an_unknown_codec_spares_the_pictures(tmp_path: Path) -> None:
    """A file whose sound this build cannot decode ended with an AttributeError."""
    path = patched(tmp_path / "a.mkv", b"A_AAC", 0, b"A_ZZZ")
    found = probe(str(path))
    assert found.video is not None and found.audio is not None
    assert (found.video.frames, found.audio.codec) == (60, "unknown")
    assert len(pictures_THWC(path)) == 60
    with pytest.raises(
        MediaError, match="has an audio stream in a format that this PyAV build cannot decode"
    ):
        next(read_audio(str(path)))


def test_sound_at_one_sample_a_second_is_refused(tmp_path: Path) -> None:
    """Resampling it to 16 kHz would make a minute of every kilobyte."""
    path = write_sound(tmp_path / "a.wav")
    data = bytearray(path.read_bytes())
    at = data.index(b"fmt ") + 12
    data[at : at + 4] = (1).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(MediaError, match="damaged: a part of the sound has 1 samples per second"):
        next(read_audio(str(path)))


def test_matroska_that_lacks_its_end_is_told(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 60)
    whole = path.read_bytes()
    assert not lacks_end(str(path))
    cut_file(path, 0.9)
    assert lacks_end(str(path))
    with pytest.raises(
        MediaError, match=r"truncated: the container promises 2\.40 s, the file holds 2\.\d+ s"
    ):
        probe(str(path))
    # Live recordings say no length: all ones.
    at = whole.index(b"\x18\x53\x80\x67") + 4
    path.write_bytes(whole[:at] + b"\x01" + b"\xff" * 7 + whole[at + 8 :])
    assert not lacks_end(str(path))


@pytest.mark.parametrize(
    "data", [b"", b"\x1a\x45", b"\x1a\x45\xdf\xa3\x00", b"\x1a\x45\xdf\xa3\xff\x18\x53\x80\x67", b"x" * 50]
)
def test_what_is_no_matroska_lacks_nothing(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.mkv").write_bytes(data)
    assert not lacks_end(str(tmp_path / "a.mkv"))


def test_thin_strip_is_made_no_longer_than_a_picture() -> None:
    assert fit_short_side(1920, 1080, 240) == (426, 240)
    assert fit_short_side(16_384, 4, 240) == (3840, 2)
    assert fit_short_side(4, 16_384, 240) == (2, 3840)

"""Reference pictures of every kind become upright 8-bit RGB, or a one-line cause."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import cv2
import fsspec
import numpy as np
import pytest
from helpers.media import write_sound, write_video
from PIL import Image

from wanprep.clip import make_clips
from wanprep.errors import MediaError
from wanprep.inputs import InputClip
from wanprep.media.image import (
    RGB,
    centre_crop,
    letterbox,
    probe_image,
    read_image,
    resize_short_side,
    resize_stretch,
    size_by_area,
)
from wanprep.scan import scan
from wanprep.timeline import TimelineConfig

ORIENTATION = 0x0112


def picture_HWC(width: int = 24, height: int = 16) -> RGB:
    """Colours that tell every corner from the others."""
    y_H1, x_1W = np.mgrid[0:height, 0:width]
    return np.stack([x_1W * 255 // width, y_H1 * 255 // height, (x_1W + y_H1) % 7 * 30], axis=-1).astype(
        np.uint8
    )


def saved(path: Path, picture: Image.Image, **options: Any) -> str:
    picture.save(path, **options)
    return str(path)


def why_not(uri: str) -> str:
    """The cause that a clip with this reference fails with, and that reading it gives, too."""
    with pytest.raises(MediaError) as problem:
        read_image(uri)
    rows, _ = scan({uri: "image"}, {})
    (clip,) = make_clips([InputClip(clip_id="c", reference=uri)], rows, TimelineConfig(), "r")
    cause = clip.why_not or ""
    assert cause.startswith("reference: ") and "\n" not in cause
    assert str(problem.value) == f"picture {Path(uri).name}: {cause.removeprefix('reference: ')}"
    return cause.removeprefix("reference: ")


@pytest.mark.parametrize(
    "name", ["a.png", "a.webp", "a.bmp", "a.tiff", "a.ppm", "a.tga", "a.jp2", "wrong-name.jpg"]
)
def test_lossless_formats_give_the_pixels(name: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"lossless": True} if name == "a.webp" else {}
    if name == "wrong-name.jpg":
        options["format"] = (
            "PNG"  # formats are told by content: Wan's own tools call every reference src_ref.png
        )
    uri = saved(tmp_path / name, Image.fromarray(picture_HWC()), **options)
    np.testing.assert_array_equal(read_image(uri), picture_HWC())
    assert read_image(f"file://{uri}").shape == (16, 24, 3)


@pytest.mark.parametrize("name", ["a.jpg", "a.avif", "a.gif"])
def test_lossy_formats_come_near(name: str, tmp_path: Path) -> None:
    smooth_HWC = np.repeat(np.linspace(40, 200, 32, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(
        32, axis=0
    )
    uri = saved(tmp_path / name, Image.fromarray(smooth_HWC))
    assert np.abs(read_image(uri).astype(int) - smooth_HWC).max() <= 6


@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, name: str, tmp_path: Path) -> None:
    """The eight ways to hold a camera, each undone by hand here."""
    stand = picture_HWC()
    stored = {
        1: stand,
        2: stand[:, ::-1],
        3: np.rot90(stand, 2),
        4: stand[::-1],
        5: stand.transpose(1, 0, 2),
        6: np.rot90(stand, 1),
        7: np.rot90(stand, 2).transpose(1, 0, 2),
        8: np.rot90(stand, -1),
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"lossless": True} if name == "a.webp" else {}
    uri = saved(tmp_path / name, Image.fromarray(np.ascontiguousarray(stored)), exif=exif, **options)
    np.testing.assert_array_equal(read_image(uri), stand)
    video = probe_image(uri).video
    assert video is not None and (video.width, video.height) == (24, 16)
    assert video.rotation == {3: 180, 4: 180, 5: 270, 6: 270, 7: 90, 8: 90}.get(orientation, 0)


def test_transparent_parts_are_laid_over_white(tmp_path: Path) -> None:
    rgba_HWC = np.zeros((2, 3, 4), np.uint8)
    rgba_HWC[0] = [(200, 0, 0, 255), (200, 0, 0, 0), (200, 0, 0, 51)]
    uri = saved(tmp_path / "a.png", Image.fromarray(rgba_HWC))
    wanted = [[200, 0, 0], [255, 255, 255], [244, 204, 204]]  # 51 is a fifth of 255
    np.testing.assert_allclose(read_image(uri)[0], wanted, atol=1)


def test_other_kinds_of_transparency(tmp_path: Path) -> None:
    grey = np.array([[[90, 255], [90, 0]]], np.uint8)
    np.testing.assert_array_equal(
        read_image(saved(tmp_path / "la.png", Image.fromarray(grey, "LA"))), [[[90] * 3, [255] * 3]]
    )
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    uri = saved(tmp_path / "p.png", palette, transparency=1)
    np.testing.assert_array_equal(read_image(uri), [[[10, 20, 30], [255] * 3]])
    uri = saved(tmp_path / "rgb.png", Image.fromarray(picture_HWC(2, 1)), transparency=(0, 0, 0))
    assert read_image(uri)[0, 0].tolist() == [255, 255, 255], "the one colour that is named transparent"


def test_cmyk_is_converted(tmp_path: Path) -> None:
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red_HWC = read_image(saved(tmp_path / "a.jpg", inks, quality=100))
    np.testing.assert_allclose(red_HWC, np.broadcast_to([255, 0, 0], (16, 16, 3)), atol=3)


def test_sixteen_bits_keep_the_upper_eight(tmp_path: Path) -> None:
    levels = np.array([[0, 255, 256, 0x80FF, 0xFFFF]], np.uint16)
    for name in ("a.png", "a.tiff", "a.pgm"):
        grey_HWC = read_image(saved(tmp_path / name, Image.fromarray(levels)))
        assert grey_HWC[0].tolist() == [[0] * 3, [0] * 3, [1] * 3, [0x80] * 3, [255] * 3], name


def test_sixteen_bits_of_colour(tmp_path: Path) -> None:
    levels_HWC = np.array([[[0, 255, 256], [0x80FF, 0xFFFF, 0x1234]]], np.uint16)
    for name in ("a.png", "a.tiff"):
        cv2.imwrite(str(tmp_path / name), levels_HWC[:, :, ::-1])
        np.testing.assert_array_equal(read_image(str(tmp_path / name)), levels_HWC >> 8, name)


def test_lab_is_converted(tmp_path: Path) -> None:
    grey = Image.new("LAB", (2, 2), (128, 128, 128))  # halfway in lightness, without colour
    uri = saved(tmp_path / "a.tiff", grey)
    np.testing.assert_allclose(read_image(uri), np.full((2, 2, 3), 119), atol=3)


def test_one_bit_and_grey(tmp_path: Path) -> None:
    bits = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert read_image(saved(tmp_path / "a.png", bits)).tolist() == [[[0] * 3, [255] * 3]]
    grey = Image.fromarray(np.array([[7, 77]], np.uint8))
    assert read_image(saved(tmp_path / "b.png", grey)).tolist() == [[[7] * 3, [77] * 3]]


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tiff"])
def test_the_first_picture_of_many(name: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    options = {"lossless": True} if name == "a.webp" else {}
    uri = saved(tmp_path / name, frames[0], save_all=True, append_images=frames[1:], **options)
    assert (read_image(uri) == 255).all()


def test_a_single_pixel(tmp_path: Path) -> None:
    uri = saved(tmp_path / "a.png", Image.new("RGB", (1, 1), (1, 2, 3)))
    assert read_image(uri).tolist() == [[[1, 2, 3]]]
    assert resize_short_side(read_image(uri), 224).shape == (224, 224, 3)
    assert letterbox(read_image(uri), (32, 16)).shape == (16, 32, 3)


def test_remote_pictures() -> None:
    with fsspec.open("memory://refs/a.png", "wb") as file:
        Image.fromarray(picture_HWC()).save(file, format="PNG")
    np.testing.assert_array_equal(read_image("memory://refs/a.png"), picture_HWC())
    assert "is not there" in why_not("memory://refs/b.png")
    assert "not read through reference://" in why_not("reference://a.png")


def test_what_is_no_picture(tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("no picture at all")
    assert why_not(str(text)).startswith("is no picture, or in a format that is not taken (PNG, JPEG, WebP")
    empty = tmp_path / "empty.png"
    empty.touch()
    assert why_not(str(empty)) == "the file is empty (0 bytes)"
    assert why_not(str(tmp_path / "nowhere.png")) == "the file does not exist"
    assert why_not(str(write_sound(tmp_path / "song.wav"))).startswith("is no picture")
    assert why_not(str(write_video(tmp_path / "film.mp4", 2))).startswith("is no picture")
    (tmp_path / "folder.png").mkdir()
    assert why_not(str(tmp_path / "folder.png")) == "is no regular file"


def test_interpreters_are_not_started(tmp_path: Path) -> None:
    """Pillow gives EPS to Ghostscript."""
    file = tmp_path / "a.png"
    file.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    assert why_not(str(file)).startswith("is no picture")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.gif"])
def test_cut_off_pictures(name: str, tmp_path: Path) -> None:
    noise_HWC = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    uri = saved(tmp_path / name, Image.fromarray(noise_HWC))
    data = Path(uri).read_bytes()
    Path(uri).write_bytes(data[: len(data) // 2])
    assert why_not(uri).startswith("damaged: it does not decode (")


def test_sizes_that_a_header_claims(tmp_path: Path) -> None:
    """Two hundred bytes that ask for gigabytes."""
    uri = Path(saved(tmp_path / "a.png", Image.new("L", (4, 4))))
    for width, height, said in (
        (60_000, 10, "is 60000x10: over 16,384 pixels wide or high"),
        (16_000, 10_000, "is 16000x10000: over 134 million pixels"),
        (2**31 - 1, 2**31 - 1, "is over 134 million pixels"),
    ):
        data = bytearray(uri.read_bytes())
        data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
        data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
        uri.write_bytes(data)
        assert why_not(str(uri)) == said


def test_values_without_a_range(tmp_path: Path) -> None:
    uri = saved(tmp_path / "a.tiff", Image.fromarray(np.array([[0.5, 2.0]], np.float32)))
    assert "floating-point" in why_not(uri)
    uri = saved(tmp_path / "b.tiff", Image.fromarray(np.array([[-1, 70_000]], np.int32)))
    assert "grey values of 32 bits" in why_not(uri)


def test_damaged_bytes_never_escape(tmp_path: Path) -> None:
    """Whatever a byte is changed to, the outcome is a picture or a cause of one line."""
    random = np.random.default_rng(1)
    for name in ("a.png", "a.jpg", "a.gif", "a.webp", "a.tiff", "a.jp2", "a.tga", "a.bmp"):
        whole = Path(saved(tmp_path / name, Image.fromarray(picture_HWC()))).read_bytes()
        for _ in range(25):
            data = bytearray(whole)
            for place in random.integers(0, len(data), 3):
                data[place] = random.integers(256)
            (tmp_path / name).write_bytes(data)
            try:
                assert read_image(str(tmp_path / name)).dtype == np.uint8
            except MediaError as error:
                assert "\n" not in str(error) and name in str(error)


def test_centre_crop_rules() -> None:
    row_HWC = np.arange(7, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    assert centre_crop(row_HWC, (4, 1))[0, :, 0].tolist() == [1, 2, 3, 4], "the odd pixel is cut on the right"
    assert centre_crop(row_HWC, (4, 1), "half_even")[0, :, 0].tolist() == [2, 3, 4, 5], "1.5 goes to 2"
    assert centre_crop(row_HWC, (6, 1), "half_even")[0, :, 0].tolist() == [0, 1, 2, 3, 4, 5], "0.5 goes to 0"
    assert centre_crop(row_HWC, (9, 3))[:, :, 0].tolist() == [[0] * 9, [0, *range(7), 0], [0] * 9]


def test_short_side() -> None:
    assert resize_short_side(picture_HWC(70, 50), 224).shape == (224, 313, 3)  # 313.6
    assert resize_short_side(picture_HWC(50, 70), 224).shape == (313, 224, 3)
    assert resize_stretch(picture_HWC(), (5, 9)).shape == (9, 5, 3)


def test_a_strip_has_a_size_by_area() -> None:
    """The official rule gives it no rows at all."""
    assert size_by_area(100_000, 2, 1280 * 720) == (214_662 // 16 * 16, 16)


def test_letterbox_keeps_the_aspect() -> None:
    out_HWC = letterbox(np.full((10, 20, 3), 200, np.uint8), (40, 40))
    assert (out_HWC[10:30] == 200).all() and (out_HWC[:10] == 0).all() and (out_HWC[30:] == 0).all()

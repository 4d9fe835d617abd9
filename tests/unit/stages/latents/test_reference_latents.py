"""The stage reference_latents: one picture of any kind, at the size that a generator asks for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.latent_clips import moving_THWC, reference_latents, reference_record
from PIL import Image

from stages.latents.fit import fit_picture
from stages.latents.reference import ReferenceLatents, ReferenceLatentsConfig
from wanprep.errors import MediaError
from wanprep.models.dct_codec import dct_codec
from wanprep.models.vae_preview import decode_preview
from wanprep.stage import Media, Skipped


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "reference.png"
    Image.fromarray(moving_THWC(1, 200, 120)[0]).save(path)
    return path


def test_a_picture_is_one_latent_frame(tmp_path: Path, picture: Path) -> None:
    record = reference_record(tmp_path, picture, size={"area": 160 * 96}, storage="float32")
    assert (record.view, record.fit) == ("reference", "letterbox")
    assert (record.width, record.height, record.frames, record.segment_frames) == (160, 96, 1, 1)
    assert record.latents_TCHW.shape == (1, 16, 12, 20)
    fitted_HWC = fit_picture(np.asarray(Image.open(picture)), (160, 96), "letterbox")
    expected_TCHW = dct_codec("dct-z16-v1").encode(fitted_HWC[None])
    np.testing.assert_array_equal(record.latents_TCHW[:], expected_TCHW)
    (shown_HWC,) = decode_preview(record)
    assert np.corrcoef(shown_HWC.ravel(), fitted_HWC.ravel())[0, 1] > 0.9


def test_the_size_is_the_references_or_the_videos(tmp_path: Path, picture: Path) -> None:
    config = {"size": {"area": 96 * 96}, "size_of": "video"}
    record = reference_latents(tmp_path, picture, video=(480, 854), **config)
    assert not isinstance(record, Skipped)
    assert (record.width, record.height) == (64, 128)
    own = reference_record(tmp_path, picture, size={"area": 96 * 96})
    assert (own.width, own.height) == (112, 64)
    skipped = reference_latents(tmp_path, picture, **config)
    assert isinstance(skipped, Skipped)
    assert skipped.reason == "the clip has no video whose size the reference could take"


def test_what_is_read_enters_the_key() -> None:
    own = ReferenceLatents(ReferenceLatentsConfig())
    assert own.reads == {Media.REFERENCE}
    of_video = ReferenceLatents(ReferenceLatentsConfig(size_of="video"))
    assert of_video.reads == {Media.REFERENCE, Media.VIDEO}


@pytest.mark.parametrize("fit", ["letterbox", "s2v", "cover", "stretch"])
@pytest.mark.parametrize("size", [(200, 120), (1, 1), (3, 300)])
def test_pictures_of_any_shape(tmp_path: Path, fit: str, size: tuple[int, int]) -> None:
    path = tmp_path / "shape.png"
    Image.new("RGB", size, (200, 30, 90)).save(path)
    record = reference_record(tmp_path, path, fit=fit, size={"area": 64 * 64})
    assert record.width % 16 == record.height % 16 == 0
    shown_HWC = decode_preview(record)[0]
    middle = shown_HWC[record.height // 2, record.width // 2].astype(int)
    assert np.abs(middle - (200, 30, 90)).max() < 12


@pytest.mark.parametrize("mode", ["CMYK", "RGBA", "LA", "I;16", "1", "P"])
def test_pictures_of_any_kind(tmp_path: Path, mode: str) -> None:
    grey = Image.fromarray(np.full((40, 40), 128, np.uint8))
    kind = {"CMYK": "tif", "LA": "png", "I;16": "png"}.get(mode, "png")
    path = tmp_path / f"picture.{kind}"
    if mode == "I;16":
        Image.fromarray(np.full((40, 40), 128 << 8, np.uint16)).save(path)
    else:
        grey.convert(mode).save(path)
    record = reference_record(tmp_path, path, size={"width": 32, "height": 32})
    level = decode_preview(record)[0].mean()
    assert level == pytest.approx(128, abs=20 if mode != "1" else 130)


def test_references_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(MediaError, match=r"picture text\.png: is no picture"):
        reference_latents(tmp_path, tmp_path / "text.png")
    skipped = reference_latents(tmp_path, None)
    assert isinstance(skipped, Skipped) and skipped.reason == "the clip has no reference picture"
    Image.new("RGB", (2, 4000)).save(tmp_path / "strip.png")
    with pytest.raises(MediaError, match="too long a strip"):
        reference_latents(tmp_path, tmp_path / "strip.png", fit="cover", size={"width": 64, "height": 64})

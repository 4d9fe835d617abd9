"""The stage: which pixels reach the encoder by which rule, what is recorded, what is skipped, what fails."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.media import write_video
from PIL import Image

import wanprep
from schemas import ClipRecord, ImageEmbedRecord
from stages.image_embed import ImageEmbed, ImageEmbedConfig
from wanprep.media.image import letterbox, read_image
from wanprep.models.errors import ModelMissing
from wanprep.stage import ClipContext, Media, Skipped

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from stages.image_embed.pixels import MEAN, STD, centre_cropped_CHW, stretched_CHW  # noqa: E402
from stages.image_embed.tiny import write_tiny  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("clip") / "clip-vit-h-14"
    write_tiny(path, 0)
    return str(path)


@pytest.fixture
def picture(tmp_path: Path) -> str:
    noise_HWC = np.random.default_rng(0).integers(0, 255, (30, 50, 3), dtype=np.uint8)
    smooth = Image.fromarray(noise_HWC).resize((120, 80), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "face.png")
    return str(tmp_path / "face.png")


def run(folder: Path, clip: dict[str, Any], **config: Any) -> Any:
    stage = ImageEmbed(ImageEmbedConfig(backend="clip", **config))
    stage.setup()
    row = ClipRecord(clip_id="clip", recipe="recipe", **clip)
    return stage.run(ClipContext(row, {}, folder), {})


def normalised(rgb_HWC: Any) -> np.ndarray:
    return ((np.asarray(rgb_HWC, np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1).astype(np.float32)


def test_pixels_that_fit_are_left_alone() -> None:
    rgb_HWC = np.random.default_rng(0).integers(0, 255, (224, 224, 3), dtype=np.uint8)
    np.testing.assert_allclose(stretched_CHW(rgb_HWC, 224), normalised(rgb_HWC), atol=1e-5)
    np.testing.assert_allclose(centre_cropped_CHW(rgb_HWC, 224), normalised(rgb_HWC), atol=1e-5)
    rounded = stretched_CHW(rgb_HWC, 224, bfloat16=True).numpy() - normalised(rgb_HWC)
    assert 1e-3 < np.abs(rounded).max() < 1 / 256 / min(STD), "8 bits of mantissa between -1 and 1"


def test_stretching_keeps_all_and_cropping_keeps_the_aspect() -> None:
    """A white mark in each corner of a wide picture is in the square by one rule and cut off by the other."""
    rgb_HWC = np.zeros((100, 300, 3), np.uint8)
    for rows in (slice(0, 20), slice(-20, None)):
        for columns in (slice(0, 20), slice(-20, None)):
            rgb_HWC[rows, columns] = 255
    black, white = (np.float32((value - MEAN[0]) / STD[0]) for value in (0, 1))
    stretched, cropped = stretched_CHW(rgb_HWC, 224)[0], centre_cropped_CHW(rgb_HWC, 224)[0]
    for row in (2, -3):
        for column in (2, -3):
            assert float(stretched[row, column]) == pytest.approx(float(white), abs=0.3)
            assert float(cropped[row, column]) == pytest.approx(float(black), abs=1e-5)


@pytest.mark.parametrize("size", [(70, 50), (50, 70), (225, 224), (1, 1), (640, 360), (3, 200)])
def test_centre_crop_is_that_of_the_processor(size: tuple[int, int]) -> None:
    """diffusers' pipeline hands the picture to this class, whose Pillow form is the exact one."""
    pil = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    width, height = size
    rgb_HWC = np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8)
    found = pil.CLIPImageProcessorPil()(images=Image.fromarray(rgb_HWC), return_tensors="pt")
    np.testing.assert_allclose(centre_cropped_CHW(rgb_HWC, 224), found["pixel_values"][0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("rule", "size"),
    [("animate", (144, 96)), ("replace", (80, 160)), ("stretch", (120, 80)), ("centre_crop", (120, 80))],
)
def test_each_rule(rule: Any, size: tuple[int, int], model: str, picture: str, tmp_path: Path) -> None:
    clip = {"reference": picture, "video": "v.mp4", "width": 500, "height": 1000}
    record = run(
        tmp_path, clip, model=model, rule=rule, size={"area": 144 * 96}, storage="float32", device="cpu"
    )
    assert isinstance(record, ImageEmbedRecord)
    assert (record.rule, record.width, record.height) == (rule, *size)
    assert (record.encoder, record.precision, record.device, record.hidden_layer) == (
        model,
        "float32",
        "cpu",
        -2,
    )
    assert record.encoder_digest == ImageEmbed(ImageEmbedConfig(backend="clip", model=model)).models()["clip"]
    assert record.embed_TC.shape == (257, 32) and record.embed_TC.dtype == np.float32
    rgb_HWC = read_image(picture)
    if rule in ("animate", "replace"):
        rgb_HWC = letterbox(rgb_HWC, size)
    pixels_CHW = (
        centre_cropped_CHW(rgb_HWC, 224)
        if rule == "centre_crop"
        else stretched_CHW(rgb_HWC, 224, bfloat16=rule != "stretch")
    )
    from transformers import CLIPVisionModel

    bare = CLIPVisionModel.from_pretrained(f"{model}/image_encoder", local_files_only=True).eval()
    with torch.inference_mode():
        states = bare(pixel_values=pixels_CHW[None], output_hidden_states=True).hidden_states
    assert len(states) == 4
    np.testing.assert_allclose(record.embed_TC, states[2][0], rtol=0, atol=1e-6)


def test_a_size_of_its_own(model: str, picture: str, tmp_path: Path) -> None:
    record = run(tmp_path, {"reference": picture}, model=model, size={"width": 64, "height": 96})
    assert (record.width, record.height) == (64, 96)
    with pytest.raises(ValueError, match="width and height go together"):
        ImageEmbedConfig(size={"width": 64})  # type: ignore[arg-type]


def test_storage_rounds_and_nothing_else(model: str, picture: str, tmp_path: Path) -> None:
    exact_TC = run(tmp_path, {"reference": picture}, model=model, storage="float32").embed_TC
    for storage, bits in (("float16", 11), ("bfloat16", 8)):
        record = run(tmp_path, {"reference": picture}, model=model, storage=storage)
        assert record.embed_TC.dtype.name == storage
        error_TC = np.abs(record.embed_TC.astype(np.float32) - exact_TC)
        assert (error_TC <= np.abs(exact_TC) * 2.0**-bits + 1e-7).all() and error_TC.max() > 0


def test_values_that_storage_cannot_hold(model: str, picture: str, tmp_path: Path) -> None:
    stage = ImageEmbed(ImageEmbedConfig(backend="clip", model=model))
    stage.setup()
    with torch.inference_mode():
        stage._tower._model.encoder.layers[1].mlp.fc2.bias += 1e6
    with pytest.raises(ValueError, match="float16 cannot hold: take precision=float32 and storage=bfloat16"):
        stage.run(ClipContext(ClipRecord(clip_id="c", recipe="r", reference=picture), {}, tmp_path), {})


def test_what_is_skipped(model: str, picture: str, tmp_path: Path) -> None:
    assert run(tmp_path, {}, model=model) == Skipped("no reference picture")
    video = run(tmp_path, {"reference": picture}, model=model, rule="replace")
    assert isinstance(video, Skipped) and "rule=animate" in video.reason
    bare = ImageEmbed(ImageEmbedConfig())
    bare.setup()
    skipped = bare.run(ClipContext(ClipRecord(clip_id="c", recipe="r", reference=picture), {}, tmp_path), {})
    assert isinstance(skipped, Skipped) and "wanprep models fetch clip-vit-h-14" in skipped.reason
    assert bare.models() == {} and bare.unavailable() is None and bare.resources.memory == 0


def test_only_the_rule_that_looks_at_the_video_reads_it() -> None:
    for rule, reads in (("replace", {Media.REFERENCE, Media.VIDEO}), ("animate", {Media.REFERENCE})):
        assert ImageEmbed(ImageEmbedConfig(rule=rule)).reads == reads


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    stage = ImageEmbed(ImageEmbedConfig(backend="clip", model=str(tmp_path / "none")))
    assert "there is no such folder or file" in (stage.unavailable() or "")
    with pytest.raises(ModelMissing):
        stage.models()


def test_a_plan_needs_no_torch() -> None:
    code = (
        "import sys; from stages.image_embed import *; stage = ImageEmbed(ImageEmbedConfig(backend='clip')); "
        "stage.unavailable(); stage.resources; "
        "sys.exit(bool({'torch', 'transformers', 'PIL'} & sys.modules.keys()))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_references_of_all_kinds_through_a_run(model: str, tmp_path: Path, add_stages: Any) -> None:
    """Each a record of its own, or a one-line cause; the same picture in two clips is embedded once."""
    add_stages(ImageEmbed)
    video = write_video(tmp_path / "dance.mp4", 4)
    colours = Image.fromarray(np.random.default_rng(2).integers(0, 255, (20, 30, 3), dtype=np.uint8))
    good = {
        "pixel.png": Image.new("RGB", (1, 1), "red"),
        "inks.jpg": colours.convert("CMYK"),
        "clear.png": colours.convert("RGBA"),
        "grey.png": Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)),
    }
    good["clear.png"].putalpha(128)
    for name, image in good.items():
        image.save(tmp_path / name)
    colours.resize((200, 200)).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:2000])
    (tmp_path / "text.png").write_text("hello")
    names = [*good, "cut.jpg", "text.png", ""]
    with (tmp_path / "list.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "video", "reference"])
        writer.writerows([[Path(name).stem or "none", video, name] for name in names])
        writer.writerow(["again", "", "inks.jpg"])
    recipe = {"stages": {"image_embed": {"backend": "clip", "model": model, "storage": "bfloat16"}}}
    store = tmp_path / "store"
    for _ in range(2):
        wanprep.run(tmp_path / "list.csv", store=store, recipe=recipe, engine="inline", workers=1)
    opened = wanprep.open(str(store))
    embeds = {clip.id: found for clip in opened.clips() if (found := clip.get("image_embed")) is not None}
    assert set(embeds) == {"pixel", "inks", "clear", "grey", "again"}
    assert all(record.embed_TC.dtype.name == "bfloat16" for record in embeds.values())
    kept = {np.asarray(record.embed_TC, np.float32).tobytes() for record in embeds.values()}
    assert len(kept) == 4, "all differ but the picture that two clips share"
    causes = {row.clip_id: row.cause or row.reason for row in opened.outcomes() if row.outcome != "done"}
    assert set(causes) == {"cut", "text", "none"}
    assert causes["text"].startswith("reference: is no picture")
    assert causes["cut"].startswith("reference: damaged: it does not decode (image file is truncated")
    assert causes["none"] == "no reference picture"

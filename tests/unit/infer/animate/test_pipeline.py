"""Loading from a folder, and what a loaded model refuses."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.animate_clip import drawn, memory_clip, records_of
from pydantic import ValidationError

from wanprep.models.errors import ModelMissing
from wanprep_infer.animate import AnimatePipeline, AnimateSettings
from wanprep_infer.conditioning import AnimateConditioning
from wanprep_infer.conditioning.unfit import UnfitConditioning

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def bare_folder(generator_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model without anything that a run from the store does without."""
    folder = tmp_path_factory.mktemp("bare") / "animate"
    keep = ("model_index.json", "transformer", "vae", "scheduler")
    folder.mkdir()
    for name in keep:
        source = generator_folder / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    return folder


@pytest.fixture(scope="module")
def pipeline(bare_folder: Path) -> AnimatePipeline:
    return AnimatePipeline.from_pretrained(str(bare_folder), device="cpu", precision="float32")


@pytest.fixture(scope="module")
def records(generator_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    return records_of(
        drawn(9),
        tmp_path_factory.mktemp("records"),
        generator_folder / "vae",
        length=9,
        overlap=1,
        rounding="bfloat16",
        rule="animate",
    )


def opened(records: Mapping[str, Any], **changed: Any) -> AnimateConditioning:
    return AnimateConditioning.from_clip(memory_clip({**records, **changed}), "animate")


def refused(pipeline: AnimatePipeline, conditioning: AnimateConditioning, **settings: Any) -> str:
    with pytest.raises(UnfitConditioning) as error:
        pipeline.check(conditioning, AnimateSettings(**settings))
    text = str(error.value)
    assert text.startswith("clip dance: ") and "\n" not in text
    with pytest.raises(UnfitConditioning):
        pipeline.generate(conditioning, AnimateSettings(**settings), 0)
    return text


def test_encoders_need_not_be_there(pipeline: AnimatePipeline, records: Mapping[str, Any]) -> None:
    assert pipeline.device == torch.device("cpu")
    settings = AnimateSettings(steps=2, guidance=2.0, solver="dpm++")
    (frames_CTHW,) = pipeline.generate(opened(records), settings, 0)
    assert frames_CTHW.shape == (3, 9, 32, 48) and frames_CTHW.std() > 0.01
    (again_CTHW,) = pipeline.generate(opened(records), settings, 0)
    assert torch.equal(frames_CTHW, again_CTHW)


def test_everything_in_bfloat16(
    bare_folder: Path, records: Mapping[str, Any], pipeline: AnimatePipeline
) -> None:
    rounded = AnimatePipeline.from_pretrained(str(bare_folder), device="cpu")
    assert rounded.transformer.dtype == torch.bfloat16 and rounded.vae.dtype == torch.float32
    settings = AnimateSettings(steps=2)
    (made,), (wanted,) = (each.generate(opened(records), settings, 0) for each in (rounded, pipeline))
    assert made.dtype == torch.float32 and (made - wanted).abs().mean() < 0.02


@pytest.mark.parametrize("part", ["transformer", "vae"])
def test_a_part_that_is_not_there_is_named(bare_folder: Path, tmp_path: Path, part: str) -> None:
    folder = tmp_path / "animate"
    shutil.copytree(bare_folder, folder)
    shutil.rmtree(folder / part)
    with pytest.raises(ModelMissing, match=part):
        AnimatePipeline.from_pretrained(str(folder), device="cpu")


@pytest.mark.parametrize("file", ["text_encoder", "image_encoder", "tokenizer", "scheduler"])
def test_no_other_part_is_opened(generator_folder: Path, tmp_path: Path, file: str) -> None:
    """A part that is damaged to the core does not matter."""
    folder = tmp_path / "animate"
    shutil.copytree(generator_folder, folder)
    for path in (folder / file).iterdir():
        path.write_bytes(b"{")
    AnimatePipeline.from_pretrained(str(folder), device="cpu", precision="float32")


def test_latents_of_another_vae_are_refused(pipeline: AnimatePipeline, records: Mapping[str, Any]) -> None:
    pose = records["pose_latents"]
    assert pose.vae_weights is not None
    other = opened(records, pose_latents=replace(pose, vae_weights="f" * 32))
    assert "pose_latents were made by another VAE" in (text := refused(pipeline, other))
    assert "--set pose_latents.model=DIR" in text
    # The same weights in other files are the same VAE; without the weights' digest, files count.
    pipeline.check(opened(records, pose_latents=replace(pose, vae_digest="f" * 32)), AnimateSettings())
    old = replace(pose, vae_weights=None)
    pipeline.check(opened(records, pose_latents=old), AnimateSettings())
    other = opened(records, pose_latents=replace(old, vae_digest="f" * 32))
    assert "pose_latents were made by another VAE" in refused(pipeline, other)
    reference = replace(records["reference_latents"], vae_weights="f" * 32)
    assert "reference_latents were made by" in refused(pipeline, opened(records, reference_latents=reference))


def test_embeddings_of_other_encoders_are_refused(
    pipeline: AnimatePipeline, records: Mapping[str, Any]
) -> None:
    text, image, negative = (records[name] for name in ("text", "image_embed", "negative_text"))
    wide = opened(records, text=replace(text, channels=4096))
    assert "has 4096 channels and the model takes 32" in refused(pipeline, wide)
    long = opened(records, text=replace(text, states_LC=np.zeros((513, 32), np.float32)))
    assert "513 tokens" in (why := refused(pipeline, long)) and "--set text.limit=512" in why
    wide = opened(records, image_embed=replace(image, embed_TC=np.zeros((257, 1280), np.float32)))
    assert "1280 wide" in (why := refused(pipeline, wide)) and "--set image_embed.model=DIR" in why
    last = opened(records, image_embed=replace(image, hidden_layer=-1))
    assert "layer -1" in refused(pipeline, last)
    wide = opened(records, negative_text=replace(negative, channels=4096))
    pipeline.check(wide, AnimateSettings())
    assert "the negative_text embedding has 4096 channels" in refused(pipeline, wide, guidance=2)


def test_guidance_takes_a_negative_prompt(pipeline: AnimatePipeline, records: Mapping[str, Any]) -> None:
    none = opened({name: record for name, record in records.items() if name != "negative_text"})
    pipeline.check(none, AnimateSettings())
    assert "--set 'negative_text.prompts=[wan]'" in refused(pipeline, none, guidance=2)
    own = replace(records["negative_text"], names=["mine", "other"])
    why = refused(pipeline, opened(records, negative_text=own), guidance=2)
    assert "has no negative prompt 'wan' (it has mine, other)" in why
    pipeline.check(opened(records, negative_text=own), AnimateSettings(guidance=2, negative="mine"))
    assert AnimateSettings(compat="diffusers").negative_name == "empty"


def test_the_reference_must_be_shown_by_the_rule_of_the_compat(
    pipeline: AnimatePipeline, records: Mapping[str, Any]
) -> None:
    image = records["image_embed"]
    cropped = opened(records, image_embed=replace(image, rule="centre_crop"))
    why = refused(pipeline, cropped)
    assert (
        "--set image_embed.rule=animate --set image_embed.size.width=48 --set image_embed.size.height=32"
        in why
    )
    other = opened(records, image_embed=replace(image, width=64))
    assert "letterboxed to 64x32, and the pictures are 48x32" in refused(pipeline, other)
    plain = {
        name: replace(records[name], pixel_rounding="float32")
        for name in ("pose_latents", "reference_latents")
    }
    assert "--set image_embed.rule=centre_crop" in refused(
        pipeline, opened(records, **plain), compat="diffusers"
    )
    pipeline.check(
        opened(records, **plain, image_embed=cropped.image_embed), AnimateSettings(compat="diffusers")
    )
    why = refused(pipeline, cropped, compat="diffusers")
    assert "pose_latents are of pixels rounded to bfloat16" in why
    assert "--set pose_latents.pixel_rounding=float32" in why


def test_a_mode_of_its_own(pipeline: AnimatePipeline, records: Mapping[str, Any]) -> None:
    assert "opened for mode animate" in refused(pipeline, opened(records), mode="replace")


def test_settings_of_no_sense_are_refused() -> None:
    for fields in (
        {"steps": 0},
        {"shift": 0},
        {"guidance": -1},
        {"solver": "euler"},
        {"compat": "diffusers", "solver": "dpm++"},
        {"seconds": 3},
    ):
        with pytest.raises(ValidationError):
            AnimateSettings.model_validate(fields)


def test_no_torch_is_imported_for_settings_and_conditioning() -> None:
    import subprocess
    import sys

    code = (
        "import sys, wanprep_infer.animate, wanprep_infer.conditioning; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'diffusers', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

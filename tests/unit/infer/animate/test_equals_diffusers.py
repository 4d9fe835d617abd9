"""Fed the same pictures, the pipeline gives what diffusers' WanAnimatePipeline gives, segment for segment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.animate_clip import Drawn, drawn, memory_clip, records_of
from PIL import Image

from wanprep_infer.animate import AnimatePipeline, AnimateSettings
from wanprep_infer.conditioning import AnimateConditioning

torch = pytest.importorskip("torch")

STEPS, SEED = 3, 11
TOLERANCE = 2e-5  # of latents whose deviation is 1; 2e-6 was seen


@pytest.fixture(scope="module")
def theirs(generator_folder: Path) -> Any:
    from diffusers import WanAnimatePipeline

    pipeline = WanAnimatePipeline.from_pretrained(generator_folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def ours(generator_folder: Path) -> AnimatePipeline:
    return AnimatePipeline.from_pretrained(str(generator_folder), device="cpu", precision="float32")


def generated_by_diffusers(
    pipeline: Any, pictures: Drawn, mode: str, length: int, overlap: int, guidance: float
) -> tuple[list[Any], Any]:
    """Each segment's clean latents [16, l+1, h, w], and all frames [T,H,W,3], 0 to 1."""

    def shown(pictures_THWC: Any) -> list[Image.Image]:
        return [Image.fromarray(picture_HWC) for picture_HWC in pictures_THWC]

    def padded(states_LC: Any) -> Any:
        return torch.nn.functional.pad(torch.from_numpy(states_LC), (0, 0, 0, 512 - len(states_LC)))[None]

    latents: list[Any] = []

    def keep(pipe: Any, step: int, timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
        if step == STEPS - 1:
            latents.append(given["latents"][0].clone())
        return given

    height, width = pictures.reference_HWC.shape[:2]
    more: dict[str, Any] = {}
    if mode == "replace":
        masks_THW = pictures.replaced_THW.astype(np.uint8) * 255
        more = {"background_video": shown(pictures.background_THWC), "mask_video": shown(masks_THW)}
    frames_THWC = pipeline(
        image=Image.fromarray(pictures.reference_HWC),
        pose_video=shown(pictures.pose_THWC),
        face_video=shown(pictures.faces_THWC),
        height=height,
        width=width,
        segment_frame_length=length,
        prev_segment_conditioning_frames=overlap,
        num_inference_steps=STEPS,
        mode=mode,
        guidance_scale=guidance,
        prompt_embeds=padded(pictures.text_LC),
        negative_prompt_embeds=padded(pictures.negative_LC),
        generator=torch.Generator().manual_seed(SEED),
        callback_on_step_end=keep,
        output_type="np",
        **more,
    ).frames[0]
    return latents, frames_THWC


@pytest.mark.parametrize(
    ("mode", "length", "overlap", "frames", "guidance"),
    [
        ("animate", 9, 1, 15, 1.0),
        ("animate", 13, 5, 20, 2.5),
        ("replace", 9, 1, 15, 2.5),
        ("replace", 13, 5, 20, 1.0),
    ],
)
def test_two_segments(
    theirs: Any,
    ours: AnimatePipeline,
    generator_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: Any,
    length: int,
    overlap: int,
    frames: int,
    guidance: float,
) -> None:
    from wanprep_infer.animate import pipeline as module

    pictures = drawn(frames)
    with torch.no_grad():
        embed_TC = theirs.encode_image(Image.fromarray(pictures.reference_HWC))[0].numpy()
    pictures = replace(pictures, image_embed_TC=embed_TC)
    records = records_of(
        pictures,
        tmp_path,
        generator_folder / "vae",
        length=length,
        overlap=overlap,
        replaces=mode == "replace",
    )
    conditioning = AnimateConditioning.from_clip(memory_clip(records), mode)
    settings = AnimateSettings(mode=mode, compat="diffusers", steps=STEPS, guidance=guidance)
    latents: list[Any] = []
    denoise = module.denoise

    def kept(*given: Any) -> Any:
        latents.append(denoise(*given))
        return latents[-1]

    monkeypatch.setattr(module, "denoise", kept)
    parts = list(ours.generate(conditioning, settings, SEED))
    wanted, frames_THWC = generated_by_diffusers(theirs, pictures, mode, length, overlap, guidance)
    assert len(latents) == len(wanted) == 2
    for made_CTHW, wanted_CTHW in zip(latents, wanted, strict=True):
        assert wanted_CTHW.std() > 0.5
        torch.testing.assert_close(made_CTHW, wanted_CTHW, rtol=0, atol=TOLERANCE)
    made_THWC = (torch.cat(parts, 1).movedim(0, 3).numpy() + 1) / 2
    assert made_THWC.shape == frames_THWC.shape == (frames, *pictures.reference_HWC.shape)
    np.testing.assert_allclose(made_THWC, frames_THWC, rtol=0, atol=TOLERANCE)

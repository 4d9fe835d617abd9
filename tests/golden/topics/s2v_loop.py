"""The whole sound-to-video loop, clip after clip, from a model folder as users load it."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from golden.golden_file import Array, GoldenFile
from golden.topic import Topic
from wanprep.media.image import fit_s2v
from wanprep.models.vae_sizes import s2v_size

_FLOATS, _LEVELS = 1e-3, 1


def check(file: GoldenFile, case: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny convolutions on many threads wait for each other
    try:
        _check(file, case, torch)
    finally:
        torch.set_num_threads(threads)


def _check(file: GoldenFile, case: str, torch: Any) -> None:
    from helpers.s2v_conditioning import latents_record

    from wanprep_infer.conditioning.s2v import S2VConditioning
    from wanprep_infer.s2v import S2VPipeline, S2VSettings, pipeline

    fields, about = file.case(case), file.metadata
    picture_HWC = fields["in.ref_image_uint8_hwc"]
    width, height = s2v_size(picture_HWC.shape[1], picture_HWC.shape[0], int(about["max_area"]))
    pixels_CHW = fit_s2v(picture_HWC, (width, height)).transpose(2, 0, 1) / np.float32(127.5) - 1
    _near(pixels_CHW[:, None], fields["mid.ref_pixels"])
    with tempfile.TemporaryDirectory() as folder:
        _write_model(file, Path(folder))
        model = S2VPipeline.from_pretrained(folder, device="cpu", precision="float32")
    pixels_CTHW = torch.tensor(pixels_CHW, dtype=torch.float32)[:, None]
    latents_CTHW = model.vae.whiten(model.vae.encode(pixels_CTHW)).numpy()
    _near(latents_CTHW, fields["mid.ref_latents"])
    settings = S2VSettings(
        compat="official",
        steps=int(about["steps"]),
        shift=float(about["shift"]),
        guidance=float(about["guide_scale"]),
        solver=about["solver"],
        frames_per_clip=int(about["infer_frames"]),
        start_from_reference=about["start_from_ref"] == "True",
    )
    states_TLC = fields["in.audio_hidden_30fps"].transpose(1, 0, 2)

    class Given(S2VConditioning):
        def reference_pixels_CHW(self) -> Array:
            return np.asarray(pixels_CHW, np.float32)

    given = Given(
        clip_id="golden",
        keys={},
        audio_TLC=states_TLC,
        audio_seconds=len(states_TLC) / 30,
        text_LC=fields["in.context"],
        negative_LC=fields["in.context_negative"],
        reference=latents_record(fields["mid.ref_latents"], vae_weights=model.vae.fingerprint),
        settings=settings,
    )
    seen = _Seen(model, torch)
    with mock.patch.object(pipeline, "decode_clip", seen.decoding(pipeline.decode_clip)):
        parts = list(model.generate(given, settings, int(about["seed"])))
    clips = int(about["clips"])
    assert len(parts) == clips == len(seen.decoded)
    for clip in range(clips):
        np.testing.assert_array_equal(seen.noises[clip], fields[f"clip{clip}.noise"])
        _near(seen.decoded[clip], fields[f"clip{clip}.decoded_latent"])
        _near(seen.conditional[clip], fields[f"clip{clip}.velocity_cond_step0"])
        if settings.guided:
            _near(seen.unconditional[clip], fields[f"clip{clip}.velocity_uncond_step0"])
        if clip or settings.start_from_reference:
            _near(seen.motion[clip], fields[f"clip{clip}.motion_latents_in"])
    video_CTHW = torch.cat(parts, 1).numpy()
    _near(video_CTHW[:, [0, -1]], fields["out.video_first_last_f32"])
    _near(video_CTHW.mean((0, 2, 3)), fields["out.frame_mean"])
    levels = np.rint((video_CTHW + 1) * 127.5).astype(np.int16)
    assert levels.shape == fields["out.video_uint8"].shape
    assert np.abs(levels - fields["out.video_uint8"].astype(np.int16)).max() <= _LEVELS


class _Seen:
    """What the first step of each clip was given and gave, and what was decoded."""

    def __init__(self, model: Any, torch: Any) -> None:
        self.noises: list[Array] = []
        self.conditional: list[Array] = []
        self.unconditional: list[Array] = []
        self.motion: list[Array | None] = []
        self.decoded: list[Array] = []
        self._torch = torch
        self._clip: Any = None
        self._velocity = model.transformer.velocity
        model.transformer.velocity = self._recorded

    def _recorded(self, latents_CTHW: Any, timestep: int, tokens: Any) -> Any:
        velocity_CTHW = self._velocity(latents_CTHW, timestep, tokens)
        if tokens.scene is not self._clip:
            self._clip = tokens.scene
            self.noises.append(latents_CTHW.numpy())
            self.conditional.append(velocity_CTHW.numpy())
            motion_CTHW = tokens.scene.motion_latents_CTHW
            self.motion.append(None if motion_CTHW is None else motion_CTHW.numpy())
        elif len(self.unconditional) < len(self.conditional):
            self.unconditional.append(velocity_CTHW.numpy())
        return velocity_CTHW

    def decoding(self, decode: Any) -> Any:
        def recorded(vae: Any, before_CTHW: Any, latents_CTHW: Any, *rest: Any) -> Any:
            self.decoded.append(self._torch.cat([before_CTHW, latents_CTHW], 1).numpy())
            return decode(vae, before_CTHW, latents_CTHW, *rest)

        return recorded


def _near(found: Array, expected: Array) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=_FLOATS)


def _write_model(file: GoldenFile, folder: Path) -> None:
    """The official folder of the file's weights."""
    import torch
    from safetensors.torch import load_file

    weights = file.companion(f"{file.metadata['dit_weights']}.weights.safetensors")
    config = {"_class_name": "WanModel_S2V", "model_type": "s2v", **weights.metadata["config"]}
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copy(weights.path, folder / "diffusion_pytorch_model.safetensors")
    vae = file.companion(f"{file.metadata['vae_weights']}.weights.safetensors")
    torch.save(load_file(vae.path), folder / "Wan2.1_VAE.pth")


TOPICS = [
    Topic(
        files=("s2v/pipeline_*.safetensors",),
        companions=("s2v/dit_*.weights.safetensors", "s2v/vae21_*.weights.safetensors"),
        check=check,
    )
]

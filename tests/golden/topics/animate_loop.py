"""What the segment loop gives the transformer, and what it makes of its answer: noise, condition, carried frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pytest

from golden.golden_file import Array, GoldenFile
from golden.topic import Topic

_MASK_CHANNELS = 4
_EXACT = {"rtol": 0, "atol": 0}
_LATENTS = {"rtol": 0, "atol": 1e-3}
_ROUNDED = {"rtol": 2**-7, "atol": 1e-3}  # one step of bfloat16
_TOKENS_A_PATCH = 4  # latent pixels
_FACE = 8  # pixels a side: every face of the vectors has one colour
_WIDTH = 8  # of the states that stand in for text and picture


class _Still:
    """A transformer that predicts no movement and keeps what it was given; a face's motion vector is its colour."""

    face_size, text_channels, image_channels, latent_channels = _FACE, _WIDTH, _WIDTH, 16

    def __init__(self) -> None:
        import torch

        self.dtype, self.device = torch.bfloat16, torch.device("cpu")
        self.segments: list[dict[str, Any]] = []

    def motion_vectors(self, face_pixels_CTHW: Any) -> Any:
        assert (face_pixels_CTHW == face_pixels_CTHW[..., :1, :1]).all()
        return face_pixels_CTHW[..., 0, 0].T

    def prepare(self, **given: Any) -> dict[str, Any]:
        self.segments.append(given)
        return given

    def other_branch(self, tokens: dict[str, Any], **given: Any) -> dict[str, Any]:
        tokens["without"] = given
        return tokens

    def velocity(self, latents_CTHW: Any, y_CTHW: Any, timestep: int, tokens: dict[str, Any]) -> Any:
        tokens |= {"noise": latents_CTHW, "y": y_CTHW, "timestep": timestep}
        return latents_CTHW * 0


class _GivenGround:
    """Backgrounds as the vectors have them: they are not black where the mask is set."""

    def __init__(self, frames_THWC: Array) -> None:
        self._frames_THWC = frames_THWC

    def pictures(self, start: int) -> Any:
        yield self._frames_THWC[start:]


class _GivenMasks:
    """Masks as the vectors have them: as they come out of a lossy video, between 0 and 255."""

    def __init__(self, masks_THW: Array) -> None:
        self._masks_THW = masks_THW

    def masks_THW(self, start: int, stop: int) -> Array:
        return self._masks_THW[start:stop]


def check(file: GoldenFile, case: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # pictures of 64 pixels: more threads wait for each other
    try:
        with TemporaryDirectory() as folder:
            _check(file, case, Path(folder))
    finally:
        torch.set_num_threads(threads)


def _check(file: GoldenFile, case: str, folder: Path) -> None:
    import torch
    from safetensors.numpy import save_file

    from wanprep.models.vae import load_vae
    from wanprep_infer.animate import AnimatePipeline, AnimateSettings
    from wanprep_infer.animate.history import carried_frames

    official = "official" in file.name
    given, wanted = file.companion("conditioning_official.npz").case(case), file.case(case)
    save_file(dict(file.companion("tiny_vae.npz").arrays), folder / "vae.safetensors")
    conditioning, negative_LC = _conditioning(given, folder, official)
    still = _Still()
    pipeline = AnimatePipeline(still, load_vae(str(folder / "vae.safetensors"), "cpu"))  # type: ignore[arg-type]
    guidance = float(given["guide_scale"])
    settings = AnimateSettings(
        mode=conditioning.mode,
        compat="official" if official else "diffusers",
        solver="dpm++" if official else "unipc",
        steps=1,
        guidance=guidance,
    )
    parts = list(pipeline.generate(conditioning, settings, int(given["seed"])))
    assert len(parts) == len(still.segments) == int(wanted["n_segments"])

    stored = torch.Tensor.bfloat16 if official else torch.Tensor.float
    for number, segment in enumerate(still.segments):
        field = {name[3:]: value for name, value in wanted.items() if name.startswith(f"s{number}_")}
        y = segment["y"]
        _close(segment["noise"], field["noise"], _EXACT)
        _close(segment["pose_latents_CTHW"], field["pose_latents"][0], _LATENTS)
        _close(
            segment["motion_TC"].T, field["face_per_frame"], _EXACT if official else {"rtol": 0, "atol": 1e-5}
        )
        _close(
            y[:_MASK_CHANNELS], field["y"][:_MASK_CHANNELS], _EXACT if official else {"rtol": 0, "atol": 1e-5}
        )
        slot = 0 if official else 1  # diffusers scales the reference with another filter
        _close(
            y[_MASK_CHANNELS:, slot:], field["y"][_MASK_CHANNELS:, slot:], _ROUNDED if official else _LATENTS
        )
        if not official:
            continue
        kinds = {"y": y, "pose": segment["pose_latents_CTHW"], "clip": segment["image_embed_TC"]}
        named = str(field["dtypes"])
        assert {f"'{name}': '{tensor.dtype}'" in named for name, tensor in kinds.items()} == {True}
        assert "'face': 'torch.bfloat16'" in named
        assert torch.equal(segment["motion_TC"].bfloat16().float(), segment["motion_TC"])
        assert int(field["seq_len"]) == y[0].numel() // _TOKENS_A_PATCH
        if number:
            carried_CTHW = carried_frames(parts[number - 1], int(given["refert_num"]))
            _close(carried_CTHW, field["prev_frames"], {"rtol": 2**-7, "atol": 2**-8})
        else:
            assert not field["prev_frames"].any()
        assert ("without" in segment) == (guidance > 1)
        if guidance > 1:
            assert field["uncond_context_is_negative"]
            _close(
                segment["without"]["context_LC"],
                stored(torch.from_numpy(negative_LC)).float().numpy(),
                _EXACT,
            )
            assert (segment["without"]["motion_TC"] == float(field["uncond_face_value"].ravel()[0])).all()

    timesteps = wanted["timestep"] if official else wanted["timesteps"]
    assert [segment["timestep"] for segment in still.segments] == [int(timesteps[0])] * len(parts)
    video_CTHW = torch.cat(parts, 1)
    shape = tuple(int(side) for side in wanted["video_shape"])
    assert tuple(video_CTHW.shape) == (shape if official else (shape[2], shape[1], *shape[3:]))
    if official and wanted["video_f16"].size:
        _close(video_CTHW, wanted["video_f16"].astype(np.float32), {"rtol": 2**-9, "atol": 2e-3})
    _check_clip_input(given, wanted, official)


def _close(made: Any, wanted: Array, tolerance: dict[str, float]) -> None:
    np.testing.assert_allclose(made.float().numpy(), wanted, **tolerance)


def _check_clip_input(given: dict[str, Any], wanted: dict[str, Any], official: bool) -> None:
    """The picture that the stage `image_embed` gives its encoder."""
    import torch

    from stages.image_embed.pixels import centre_cropped_CHW
    from wanprep.media.image import letterbox

    if not official:
        made_CHW = centre_cropped_CHW(given["ref_rgb"], 224)[:, ::4, ::4]
        _close(made_CHW, wanted["clip_pixel_values_sub4"], {"rtol": 0, "atol": 1e-5})
        return
    height, width = given["pose"].shape[1:3]
    boxed_HWC = letterbox(given["ref_rgb"], (width, height)).astype(np.float32) / 127.5 - 1
    made_CTHW = torch.from_numpy(boxed_HWC).permute(2, 0, 1)[:, None].bfloat16()
    _close(made_CTHW, wanted["clip_input"], _EXACT)


def _conditioning(given: dict[str, Any], folder: Path, official: bool) -> tuple[Any, Array]:
    """The vectors' pictures as a store would have them; and the negative prompt's states."""
    import torch
    from helpers.animate_clip import Drawn, memory_clip, records_of

    from stages.latents.fit import fit_picture
    from wanprep_infer.conditioning import AnimateConditioning

    pose_THWC = given["pose"]
    frames, height, width = pose_THWC.shape[:3]
    replaces = bool(given["replace"])
    mode: Literal["animate", "replace"] = "replace" if replaces else "animate"
    rng = np.random.default_rng(0)
    negative_LC = rng.standard_normal((3, _WIDTH)).astype(np.float32)
    pictures = Drawn(
        pose_THWC=pose_THWC,
        faces_THWC=np.broadcast_to(
            given["face_rgb_per_frame"][:, None, None], (frames, _FACE, _FACE, 3)
        ).copy(),
        reference_HWC=fit_picture(given["ref_rgb"], (width, height), "letterbox"),
        background_THWC=given["bg"] if replaces else np.zeros_like(pose_THWC),
        replaced_THW=given["mask"] > 0 if replaces else np.zeros((frames, height, width), np.bool_),
        text_LC=rng.standard_normal((5, _WIDTH)).astype(np.float32),
        negative_LC=negative_LC,
        image_embed_TC=rng.standard_normal((257, _WIDTH)).astype(np.float32),
    )
    records = records_of(
        pictures,
        folder,
        folder / "vae.safetensors",
        length=int(given["clip_len"]),
        overlap=int(given["refert_num"]),
        replaces=replaces,
        rounding="bfloat16" if official else "float32",
        rule=mode if official else "centre_crop",
    )
    conditioning = AnimateConditioning.from_clip(memory_clip(records), mode)
    if replaces:
        soft_THW = torch.from_numpy(given["mask"].astype(np.float32) / 255)
        soft_THW = soft_THW.bfloat16().float() if official else soft_THW
        masks: Any = _GivenMasks(soft_THW.numpy())
        ground = conditioning.ground and _GivenGround(given["bg"])
        conditioning = replace(conditioning, replace_mask=masks, ground=ground)
    return conditioning, negative_LC


TOPICS = [
    Topic(
        files=("animate/conditioning_*.npz",),
        companions=("animate/tiny_vae*.npz",),
        check=check,
    )
]

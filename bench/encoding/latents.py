"""The Wan2.1 VAE: latents of a short clip, against diffusers' own encode; a long video in bounded memory."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np

from bench.encoding.encoder import Encoder, Pair
from stages.latents.coder import load_coder
from stages.latents.video import VideoLatentsConfig
from wanprep.models import tiny_components

_FRAMES, _SIDE = 9, 64
_LONG_SIDE = 128


def _checkpoint(folder: Path) -> Path:
    """Random weights at Wan2.1's own width."""
    model = folder / "vae-wide"
    if not (model / "vae" / "diffusion_pytorch_model.safetensors").is_file():
        diffusers: Any = tiny_components.library("diffusers")
        vae = tiny_components.seeded(0, diffusers.AutoencoderKLWan)
        vae.save_pretrained(model / "vae")
    return model


def _pair(folder: Path) -> Pair:
    import torch
    from diffusers import AutoencoderKLWan

    path = _checkpoint(folder)
    coder = load_coder(VideoLatentsConfig(backend="vae", model=str(path), device="cpu"))
    model: Any = AutoencoderKLWan
    model = model.from_pretrained(path / "vae", local_files_only=True).eval()
    frames_THWC = np.random.default_rng(0).integers(0, 255, (_FRAMES, _SIDE, _SIDE, 3), np.uint8)

    def ours() -> object:
        encoder = coder.encoder(_SIDE, _SIDE, _FRAMES)
        return encoder.add(frames_THWC), encoder.finish()

    def bare() -> object:
        pixels_BCTHW = torch.from_numpy(frames_THWC).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        with torch.inference_mode():
            return model.encode(pixels_BCTHW).latent_dist.mode().numpy()

    return Pair(f"{_FRAMES} frames of {_SIDE}x{_SIDE}, Wan2.1's width", ours, bare)


def _long(folder: Path, frames: float) -> object:
    import wanprep

    tiny = folder / "vae-tiny"
    if not (tiny / "vae").is_dir():
        tiny_components.vae_z16(0).save_pretrained(tiny / "vae")
    video, store = folder / f"video-{frames:g}.mp4", folder / f"store-{frames:g}"
    shutil.rmtree(store, ignore_errors=True)
    _write(video, round(frames))
    settings = {
        "backend": "vae",
        "model": str(tiny),
        "device": "cpu",
        "size": {"width": _LONG_SIDE, "height": _LONG_SIDE},
    }
    done = wanprep.run(
        str(video),
        store=str(store),
        recipe={"stages": {"video_latents": settings}},
        engine="inline",
        workers=1,
    )
    (clip,) = wanprep.open(str(store)).clips()
    record: Any = clip.get("video_latents")
    if record is None:
        raise RuntimeError(f"no latents were made of {video}")
    shutil.rmtree(store)
    video.unlink()
    return done


def _write(path: Path, frames: int) -> None:
    picture_HWC = np.zeros((_LONG_SIDE, _LONG_SIDE, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=16)
        stream.width = stream.height = _LONG_SIDE
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            picture_HWC[:] = number % 200
            place = number % (_LONG_SIDE - 32)
            picture_HWC[place : place + 32, place : place + 32] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture_HWC, format="rgb24")))
        container.mux(stream.encode(None))


ENCODER = Encoder(pair=_pair, long=_long, lengths=(201, 2001), unit="frames")

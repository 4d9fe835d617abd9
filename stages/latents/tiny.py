"""Tiny VAEs with random weights, in the layout of the real checkpoints: `vae/` of a diffusers pipeline."""

from __future__ import annotations

from pathlib import Path

from wanprep.models.tiny_components import vae_z16, vae_z48


def write_wan21(folder: Path, seed: int) -> None:
    """Writes vae/config.json and vae/diffusion_pytorch_model.safetensors of a Wan2.1 VAE: 16 channels, 4x8x8, 3 MB.
    Equal bytes for equal seeds."""
    vae_z16(seed).save_pretrained(folder / "vae")


def write_wan22(folder: Path, seed: int) -> None:
    """The same of a Wan2.2 VAE, the one of TI2V-5B: 48 channels, 4x16x16."""
    vae_z48(seed).save_pretrained(folder / "vae")

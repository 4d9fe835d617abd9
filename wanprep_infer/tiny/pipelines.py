"""Diffusers pipeline folders of Wan2.2's generators, each complete and loadable by its pipeline's own class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wanprep.models import tiny_components as tiny

_HEADS = 2
_HEAD_WIDTH = 12  # rotary positions take thirds of it, in pairs
_WIDTH = _HEADS * _HEAD_WIDTH
_LAYERS = 2


def _common() -> dict[str, Any]:
    """Settings that all transformers here share, under diffusers' names."""
    return {
        "num_attention_heads": _HEADS,
        "attention_head_dim": _HEAD_WIDTH,
        "text_dim": tiny.TEXT_WIDTH,
        "freq_dim": 32,
        "ffn_dim": 2 * _WIDTH,
        "num_layers": _LAYERS,
    }


def _transformer(seed: int, in_channels: int, out_channels: int) -> Any:
    diffusers = tiny.library("diffusers")

    def make() -> Any:
        return diffusers.WanTransformer3DModel(
            in_channels=in_channels, out_channels=out_channels, **_common()
        )

    return tiny.seeded(seed, make)


@tiny.quiet()
def write_animate_14b(folder: Path, seed: int) -> None:
    """Wan2.2-Animate-14B: noise, mask and condition latents (36 channels), pose latents, a motion encoder of 16 pixel
    faces, a face adapter, the image encoder's tokens."""
    diffusers = tiny.library("diffusers")

    def make() -> Any:
        return diffusers.WanAnimateTransformer3DModel(
            in_channels=36,
            latent_channels=16,
            out_channels=16,
            image_dim=tiny.IMAGE_WIDTH,
            added_kv_proj_dim=_WIDTH,
            motion_encoder_channel_sizes={"4": 16, "8": 16, "16": 16},
            motion_encoder_size=16,
            motion_style_dim=16,
            motion_dim=4,
            motion_encoder_dim=16,
            face_encoder_hidden_dim=16,
            face_encoder_num_heads=2,
            inject_face_latents_blocks=2,
            **_common(),
        )

    diffusers.WanAnimatePipeline(
        tokenizer=tiny.tokenizer(),
        text_encoder=tiny.text_encoder(seed),
        vae=tiny.vae_z16(seed),
        scheduler=tiny.scheduler(flow_shift=5.0),
        image_processor=tiny.image_processor(),
        image_encoder=tiny.image_encoder(seed),
        transformer=tiny.seeded(seed, make),
    ).save_pretrained(folder)


@tiny.quiet()
def write_t2v_a14b(folder: Path, seed: int) -> None:
    """Wan2.2-T2V-A14B: two experts that change over at 0.875 of the timesteps."""
    diffusers = tiny.library("diffusers")
    diffusers.WanPipeline(
        tokenizer=tiny.tokenizer(),
        text_encoder=tiny.text_encoder(seed),
        vae=tiny.vae_z16(seed),
        scheduler=tiny.scheduler(flow_shift=12.0),
        transformer=_transformer(seed, 16, 16),
        transformer_2=_transformer(seed + 1, 16, 16),
        boundary_ratio=0.875,
    ).save_pretrained(folder)


@tiny.quiet()
def write_i2v_a14b(folder: Path, seed: int) -> None:
    """Wan2.2-I2V-A14B: two experts that change over at 0.9; noise, mask and image latents, no image encoder."""
    diffusers = tiny.library("diffusers")
    diffusers.WanImageToVideoPipeline(
        tokenizer=tiny.tokenizer(),
        text_encoder=tiny.text_encoder(seed),
        vae=tiny.vae_z16(seed),
        scheduler=tiny.scheduler(flow_shift=5.0),
        transformer=_transformer(seed, 36, 16),
        transformer_2=_transformer(seed + 1, 36, 16),
        boundary_ratio=0.9,
    ).save_pretrained(folder)


@tiny.quiet()
def write_ti2v_5b(folder: Path, seed: int) -> None:
    """Wan2.2-TI2V-5B: one transformer on the 48 channels of Wan2.2's VAE, a timestep for each token."""
    diffusers = tiny.library("diffusers")
    diffusers.WanPipeline(
        tokenizer=tiny.tokenizer(),
        text_encoder=tiny.text_encoder(seed),
        vae=tiny.vae_z48(seed),
        scheduler=tiny.scheduler(flow_shift=5.0),
        transformer=_transformer(seed, 48, 48),
        expand_timesteps=True,
    ).save_pretrained(folder)

"""Which shapes a clip's conditions may have; each check raises ValueError with the rule in one line."""

from __future__ import annotations

from typing import Any

import torch

from wanprep_infer.models.s2v.audio_encoder import STRIDE
from wanprep_infer.models.s2v.frame_packer import SIDE
from wanprep_infer.models.s2v.positions import MAX_FRAMES
from wanprep_infer.models.s2v.tokens import AudioTokens, SceneTokens

_PIXELS = 8  # a latent's side (Wan2.1 VAE)


def check_text(context_LC: torch.Tensor, config: Any) -> None:
    if context_LC.ndim != 2 or context_LC.shape[1] != config.text_dim:
        raise ValueError(f"text of shape {_list(context_LC)}: it is [L, {config.text_dim}]")
    if not 0 < len(context_LC) <= config.text_len:
        raise ValueError(f"{len(context_LC)} text tokens: the model takes 1 to {config.text_len}")


def check_audio(audio_LCT: torch.Tensor, config: Any) -> None:
    wanted = (config.audio_layers, config.audio_dim)
    if audio_LCT.ndim != 3 or tuple(audio_LCT.shape[:2]) != wanted:
        raise ValueError(f"sound of shape {_list(audio_LCT)}: it is [{wanted[0]}, {wanted[1]}, N]")
    if audio_LCT.shape[2] == 0 or audio_LCT.shape[2] % STRIDE:
        raise ValueError(f"{audio_LCT.shape[2]} steps of sound: a clip has a multiple of {STRIDE}")


def check_scene(scene: SceneTokens, audio: AudioTokens, config: Any) -> None:
    """Of the latents, and of the sound with them."""
    reference = scene.reference_latents_CTHW
    if reference.ndim != 4 or tuple(reference.shape[:2]) != (config.in_channels, 1):
        raise ValueError(
            f"reference latents of shape {_list(reference)}: they are [{config.in_channels}, 1, h, w]"
        )
    frames, height, width = scene.shape
    side = SIDE if config.enable_framepack else config.patch_size[1]
    if height % side or width % side or not height * width:
        raise ValueError(
            f"latents of {height}x{width}: both sides must be multiples of {side} ({_PIXELS * side} pixels)"
        )
    if not 0 < frames <= MAX_FRAMES or frames % config.patch_size[0]:
        raise ValueError(
            f"{frames} latent frames: a clip has 1 to {MAX_FRAMES} ({STRIDE * MAX_FRAMES} video frames), for "
            f"the reference stands at position {MAX_FRAMES}"
        )
    if audio.frames != frames:
        steps = audio.audio_LCT.shape[-1]
        raise ValueError(
            f"{steps} steps of sound for {frames} latent frames: there are {STRIDE} a latent frame"
        )
    motion, pose = scene.motion_latents_CTHW, scene.pose_latents_CTHW
    if motion is not None:
        wanted = [config.in_channels, max(motion.shape[1], 1) if motion.ndim == 4 else "m", height, width]
        if _list(motion) != wanted:
            raise ValueError(
                f"motion latents of shape {_list(motion)}: they are [{wanted[0]}, m, {height}, {width}], m at "
                "least 1"
            )
    if pose is not None and config.pose_dim == 0:
        raise ValueError("this model takes no pose: leave pose_latents_CTHW out")
    if pose is not None and _list(pose) != [config.pose_dim, *scene.shape]:
        raise ValueError(f"pose latents of shape {_list(pose)}: they are {[config.pose_dim, *scene.shape]}")


def check_latents(latents_CTHW: torch.Tensor, scene: SceneTokens, config: Any) -> None:
    wanted = [config.in_channels, *scene.shape]
    if _list(latents_CTHW) != wanted:
        raise ValueError(f"latents of shape {_list(latents_CTHW)}: the clip's are {wanted}")


def _list(tensor: torch.Tensor) -> list[object]:
    return list(tensor.shape)

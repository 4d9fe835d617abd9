"""Transformers with random weights, made where they run: no file is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wanprep.models.tiny_components import IMAGE_WIDTH, TEXT_WIDTH, seeded

NAMES = ("tiny", "small", "14b")


@dataclass(frozen=True, slots=True)
class Shape:
    """Arguments of both transformers, and the size of picture that a step is timed at."""

    animate: dict[str, Any]
    s2v: dict[str, Any]
    width: int
    height: int


# Text and image widths of the tiny encoders, so that one store serves tiny and small.
_SMALL_HEADS = {"num_attention_heads": 8, "attention_head_dim": 64, "ffn_dim": 1376, "num_layers": 12}
_TINY_HEADS = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "ffn_dim": 48,
    "num_layers": 2,
    "freq_dim": 32,
}

SHAPES = {
    "tiny": Shape(
        animate={
            **_TINY_HEADS,
            "text_dim": TEXT_WIDTH,
            "image_dim": IMAGE_WIDTH,
            "added_kv_proj_dim": 24,
            "motion_encoder_channel_sizes": {"4": 16, "8": 16, "16": 16},
            "motion_encoder_size": 16,
            "motion_style_dim": 16,
            "motion_dim": 4,
            "motion_encoder_dim": 16,
            "face_encoder_hidden_dim": 16,
            "face_encoder_num_heads": 2,
            "inject_face_latents_blocks": 2,
        },
        s2v={**_TINY_HEADS, "text_dim": TEXT_WIDTH, "audio_dim": 32, "audio_inject_layers": (0, 1)},
        width=64,
        height=64,
    ),
    "small": Shape(
        animate={
            **_SMALL_HEADS,
            "text_dim": TEXT_WIDTH,
            "image_dim": IMAGE_WIDTH,
            "added_kv_proj_dim": 512,
            "motion_encoder_channel_sizes": {"4": 64, "8": 64, "16": 64, "32": 32, "64": 16},
            "motion_encoder_size": 64,
            "motion_style_dim": 64,
            "motion_dim": 20,
            "motion_encoder_dim": 64,
            "face_encoder_hidden_dim": 128,
            "face_encoder_num_heads": 4,
            "inject_face_latents_blocks": 4,
        },
        s2v={**_SMALL_HEADS, "text_dim": TEXT_WIDTH, "audio_dim": 32, "audio_inject_layers": (0, 4, 8)},
        width=128,
        height=128,
    ),
    # The published models; 832x480 is what they call 480p.
    "14b": Shape(animate={"added_kv_proj_dim": 5120}, s2v={}, width=832, height=480),
}


def animate_model(name: str, device: str) -> Any:
    """Animate's transformer of a shape, in bfloat16 on a GPU and float32 on a CPU."""
    from wanprep_infer.models.animate_model import AnimateModel

    return _made(lambda: AnimateModel(**SHAPES[name].animate), device)


def s2v_model(name: str, device: str) -> Any:
    """S2V's transformer of a shape, in bfloat16 on a GPU and float32 on a CPU."""
    from wanprep_infer.models.s2v_transformer import WanS2VTransformer3DModel

    return _made(lambda: WanS2VTransformer3DModel(**SHAPES[name].s2v), device)


def parameters(model: Any) -> str:
    """How many, for a table."""
    count = sum(parameter.numel() for parameter in model.parameters())
    return f"{count / 1e9:.2f} B" if count >= 1e9 else f"{count / 1e6:.2g} M"


def _made(make: Callable[[], Any], device: str) -> Any:
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if device == "cuda" else torch.float32)
    try:
        with torch.device(device):
            model = seeded(0, make)
    finally:
        torch.set_default_dtype(before)
    kept = model._keep_in_fp32_modules or ()  # as diffusers loads it
    for part, parameter in model.named_parameters():
        if any(name in part.split(".") for name in kept):
            parameter.data = parameter.data.float()
    return model.eval().requires_grad_(False)

"""A CLIP image tower in Wan's own layout, and what it computes, written out with plain tensor operations."""

from __future__ import annotations

import torch
from torch.nn.functional import conv2d, gelu, layer_norm, linear, softmax

Weights = dict[str, torch.Tensor]

WIDTH, HEADS, LAYERS, PATCH, GRID = 160, 2, 3, 4, 5  # heads of 80, as in ViT-H/14
SIDE = PATCH * GRID


def wan_weights(seed: int = 0) -> Weights:
    """As in models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth: the image tower beside a text tower."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int, scale: float = 0.05) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * scale

    found = {
        "log_scale": random(),
        "textual.token_embedding.weight": random(7, 3),
        "visual.cls_embedding": random(1, 1, WIDTH),
        "visual.pos_embedding": random(1, GRID * GRID + 1, WIDTH),
        "visual.patch_embedding.weight": random(WIDTH, 3, PATCH, PATCH),
        "visual.head": random(WIDTH, 8),
    }
    for norm in ("pre_norm", "post_norm"):
        found[f"visual.{norm}.weight"] = 1 + random(WIDTH)
        found[f"visual.{norm}.bias"] = random(WIDTH)
    for layer in range(LAYERS):
        block = f"visual.transformer.{layer}"
        for norm in ("norm1", "norm2"):
            found[f"{block}.{norm}.weight"] = 1 + random(WIDTH)
            found[f"{block}.{norm}.bias"] = random(WIDTH)
        for name, rows, columns in (
            ("attn.to_qkv", 3 * WIDTH, WIDTH),
            ("attn.proj", WIDTH, WIDTH),
            ("mlp.0", 4 * WIDTH, WIDTH),
            ("mlp.2", WIDTH, 4 * WIDTH),
        ):
            found[f"{block}.{name}.weight"] = random(rows, columns)
            found[f"{block}.{name}.bias"] = random(rows)
    return found


def open_clip_names(weights: Weights) -> Weights:
    """The same image tower as open_clip saves it."""
    changes = {
        "cls_embedding": "class_embedding",
        "pos_embedding": "positional_embedding",
        "patch_embedding": "conv1",
        "pre_norm": "ln_pre",
        "post_norm": "ln_post",
        "head": "proj",
        "transformer": "transformer.resblocks",
        "norm1": "ln_1",
        "norm2": "ln_2",
        "attn.to_qkv.": "attn.in_proj_",
        "attn.proj": "attn.out_proj",
        "mlp.0": "mlp.c_fc",
        "mlp.2": "mlp.c_proj",
    }
    found = {}
    for name, value in weights.items():
        if name.startswith("visual."):
            for theirs, ours in changes.items():
                name = name.replace(theirs, ours)
            value = value.reshape(value.shape[1:]) if "positional" in name else value
            value = value.reshape(-1) if "class" in name else value
        found[name] = value
    return found


def hidden_TC(weights: Weights, pixels_CHW: torch.Tensor) -> torch.Tensor:
    """What comes out of all blocks but the last, [tokens, width]."""

    def norm(name: str, x_TC: torch.Tensor) -> torch.Tensor:
        parts = (weights[f"visual.{name}.weight"], weights[f"visual.{name}.bias"])
        return layer_norm(x_TC, (WIDTH,), *parts, eps=1e-5)

    def dense(name: str, x_TC: torch.Tensor) -> torch.Tensor:
        return linear(x_TC, weights[f"visual.{name}.weight"], weights[f"visual.{name}.bias"])

    patches_TC = conv2d(pixels_CHW[None], weights["visual.patch_embedding.weight"], stride=PATCH)[0]
    x_TC = torch.cat([weights["visual.cls_embedding"][0], patches_TC.flatten(1).T])
    x_TC = norm("pre_norm", x_TC + weights["visual.pos_embedding"][0])
    for layer in range(LAYERS - 1):
        block = f"transformer.{layer}"
        parts = dense(f"{block}.attn.to_qkv", norm(f"{block}.norm1", x_TC)).chunk(3, dim=1)
        q_HTC, k_HTC, v_HTC = (part.reshape(-1, HEADS, WIDTH // HEADS).transpose(0, 1) for part in parts)
        shares_HTT = softmax(q_HTC @ k_HTC.transpose(1, 2) / (WIDTH // HEADS) ** 0.5, dim=-1)
        seen_TC = (shares_HTT @ v_HTC).transpose(0, 1).reshape(-1, WIDTH)
        x_TC = x_TC + dense(f"{block}.attn.proj", seen_TC)
        inner_TC = gelu(dense(f"{block}.mlp.0", norm(f"{block}.norm2", x_TC)))
        x_TC = x_TC + dense(f"{block}.mlp.2", inner_TC)
    return x_TC

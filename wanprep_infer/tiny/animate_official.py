"""Wan2.2-Animate-14B's official folder: config and shards at the root, with Wan's own tensor names."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from wanprep.models import tiny_components as tiny
from wanprep_infer.tiny.official import write_text_encoder_pth, write_vae_pth
from wanprep_infer.tiny.pipelines import write_animate_14b

if TYPE_CHECKING:
    import torch

_STEM = "diffusion_pytorch_model"
_SHARDS = 3

# Applied one after the other to diffusers' names.
_RENAMED = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^condition_embedder\.(text|time)_embedder\.linear_1\.", r"\1_embedding.0."),
        (r"^condition_embedder\.(text|time)_embedder\.linear_2\.", r"\1_embedding.2."),
        (r"^condition_embedder\.time_proj\.", "time_projection.1."),
        (r"^condition_embedder\.image_embedder\.norm1\.", "img_emb.proj.0."),
        (r"^condition_embedder\.image_embedder\.ff\.net\.0\.proj\.", "img_emb.proj.1."),
        (r"^condition_embedder\.image_embedder\.ff\.net\.2\.", "img_emb.proj.3."),
        (r"^condition_embedder\.image_embedder\.norm2\.", "img_emb.proj.4."),
        (r"^proj_out\.", "head.head."),
        (r"^scale_shift_table$", "head.modulation"),
        (r"^(blocks\.\d+)\.scale_shift_table$", r"\1.modulation"),
        (r"^(blocks\.\d+)\.norm2\.", r"\1.norm3."),
        (r"^(blocks\.\d+)\.ffn\.net\.0\.proj\.", r"\1.ffn.0."),
        (r"^(blocks\.\d+)\.ffn\.net\.2\.", r"\1.ffn.2."),
        (r"^(blocks\.\d+)\.attn1\.", r"\1.self_attn."),
        (r"^(blocks\.\d+)\.attn2\.", r"\1.cross_attn."),
        (r"^(blocks\..+)\.to_out\.0\.", r"\1.o."),
        (r"^(blocks\..+)\.to_([qkv])\.", r"\1.\2."),
        (r"^(blocks\..+)\.add_([kv])_proj\.", r"\1.\2_img."),
        (r"^(blocks\..+)\.norm_added_k\.", r"\1.norm_k_img."),
        (r"^face_adapter\.", "face_adapter.fuser_blocks."),
        (r"^(face_adapter\..+)\.norm_([qk])\.", r"\1.\2_norm."),
        (r"^(face_adapter\..+)\.to_q\.", r"\1.linear1_q."),
        (r"^(face_adapter\..+)\.to_out\.", r"\1.linear2."),
        (r"^(face_encoder\.conv\w+)\.", r"\1.conv."),
        (r"^motion_encoder\.motion_synthesis_weight$", "motion_encoder.dec.direction.weight"),
        (r"^motion_encoder\.motion_network\.", "motion_encoder.enc.fc."),
        (r"^(motion_encoder)\.conv_in\.weight$", r"\1.enc.net_app.convs.0.0.weight"),
        (r"^(motion_encoder)\.conv_in\.act_fn\.bias$", r"\1.enc.net_app.convs.0.1.bias"),
        (r"^(motion_encoder\..+\.conv1)\.weight$", r"\1.0.weight"),
        (r"\.conv1\.act_fn\.bias$", ".conv1.1.bias"),
        (r"^(motion_encoder\..+\.conv2)\.weight$", r"\1.1.weight"),
        (r"\.conv2\.act_fn\.bias$", ".conv2.2.bias"),
        (r"\.conv_skip\.weight$", ".skip.1.weight"),
    )
)
_RESIDUAL = re.compile(r"motion_encoder\.res_blocks\.(\d+)\.(.+)")
_BLUR = (1.0, 3.0, 3.0, 1.0)  # of the official motion encoder


@tiny.quiet()
def write_animate_14b_official(folder: Path, seed: int) -> None:
    """The same weights as `write_animate_14b` of this seed, in the official layout; without the image encoder."""
    from safetensors.torch import load_file, save_file

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        write_animate_14b(Path(scratch), seed)
        transformer = Path(scratch) / "transformer"
        config = json.loads((transformer / "config.json").read_text())
        tensors = official_animate(load_file(transformer / f"{_STEM}.safetensors"))
    (folder / "config.json").write_text(json.dumps(_config(config), indent=2) + "\n")
    names = list(tensors)
    placed: dict[str, str] = {}
    for number in range(_SHARDS):
        file = f"{_STEM}-{number + 1:05d}-of-{_SHARDS:05d}.safetensors"
        chosen = names[number::_SHARDS]
        save_file({name: tensors[name] for name in chosen}, folder / file, metadata={"format": "pt"})
        placed |= dict.fromkeys(chosen, file)
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": placed}
    (folder / f"{_STEM}.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    write_vae_pth(folder / "Wan2.1_VAE.pth", tiny.vae_z16(seed))
    write_text_encoder_pth(folder / "models_t5_umt5-xxl-enc-bf16.pth", tiny.text_encoder(seed))
    tiny.tokenizer().save_pretrained(folder / "google" / "umt5-xxl")


def official_animate(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Diffusers' tensors of an Animate transformer as the official checkpoint holds them: keys above values in a face
    adapter, biases of convolutions with four axes, and the motion encoder's blur kernels."""
    import torch

    kernel = torch.outer(torch.tensor(_BLUR), torch.tensor(_BLUR))
    kernel /= kernel.sum()
    found: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith("face_adapter.") and ".to_v." in name:
            continue
        if name.startswith("face_adapter.") and ".to_k." in name:
            joined = torch.cat([tensor, tensors[name.replace(".to_k.", ".to_v.")]])
            found[official_name(name.replace(".to_k.", ".linear1_kv."))] = joined
            continue
        new = official_name(name)
        found[new] = tensor.reshape(1, -1, 1, 1) if name.endswith(".act_fn.bias") else tensor
        for end, blur in ((".conv2.1.weight", ".conv2.0.kernel"), (".skip.1.weight", ".skip.0.kernel")):
            if new.endswith(end):
                found[new.removesuffix(end) + blur] = kernel.clone()
    convolutions = sum(name.endswith(".skip.1.weight") for name in found)
    last = "motion_encoder.conv_out.weight"
    found[f"motion_encoder.enc.net_app.convs.{convolutions + 1}.weight"] = found.pop(last)
    return {name: tensor.contiguous() for name, tensor in sorted(found.items())}


def official_name(name: str) -> str:
    """The official name of one tensor that diffusers names; `motion_encoder.conv_out`, whose number depends on the
    others, stays as it is."""
    for pattern, new in _RENAMED:
        name = pattern.sub(new, name)
    if match := _RESIDUAL.fullmatch(name):
        return f"motion_encoder.enc.net_app.convs.{int(match[1]) + 1}.{match[2]}"
    return name


def _config(config: Mapping[str, object]) -> dict[str, object]:
    """The official config.json that belongs to diffusers'."""
    heads, width = config["num_attention_heads"], config["attention_head_dim"]
    assert isinstance(heads, int) and isinstance(width, int)
    return {
        "_class_name": "WanAnimateModel",
        "_diffusers_version": "0.35.0.dev0",
        "cross_attn_norm": True,
        "dim": heads * width,
        "eps": config["eps"],
        "ffn_dim": config["ffn_dim"],
        "freq_dim": config["freq_dim"],
        "in_dim": config["in_channels"],
        "motion_encoder_dim": config["motion_encoder_dim"],
        "num_heads": heads,
        "num_layers": config["num_layers"],
        "out_dim": config["out_channels"],
        "patch_size": [1, 2, 2],
        "qk_norm": True,
        "text_dim": config["text_dim"],
        "text_len": 512,
        "use_img_emb": True,
        "window_size": [-1, -1],
    }

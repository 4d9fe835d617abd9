"""The transformer's config.json, in the official fields or in diffusers', as arguments of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wanprep.models.errors import ModelBroken

# Official field -> the model's argument.
_OFFICIAL = {"in_dim": "in_channels", "out_dim": "out_channels", "cond_dim": "pose_dim"}
_SAME = frozenset(
    {"patch_size", "num_attention_heads", "attention_head_dim", "in_channels", "out_channels", "pose_dim"}
    | {"text_dim", "text_len", "freq_dim", "ffn_dim", "num_layers", "eps", "audio_dim", "audio_layers"}
    | {"num_audio_token", "audio_inject_layers", "enable_adain", "adain_mode", "enable_framepack"}
    | {"framepack_drop_mode", "add_last_motion", "zero_timestep"}
)
# What other values of these fields change has never been published.
_ONLY: dict[str, tuple[object, ...]] = {
    "enable_motioner": (False, None),
    "enable_tsm": (False, None),
    "trainable_token_pos_emb": (False, None),
    "cross_attn_norm": (True,),
    "qk_norm": (True, "rms_norm_across_heads"),
}


def arguments(document: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Arguments of `WanS2VTransformer3DModel`; what the document leaves out is not among them.

    Raises:
        ModelBroken: a value that no published model has and that would change the network; names the field.
    """
    for field, allowed in _ONLY.items():
        if field in document and document[field] not in allowed:
            raise ModelBroken(
                f"{where}: config.json has {field} {document[field]!r}, of which there is no published model; "
                f"{allowed[0]!r} is supported"
            )
    found = {_OFFICIAL.get(field, field): value for field, value in document.items()}
    if "dim" in document:
        heads, width = document.get("num_heads", 40), document["dim"]
        if not (isinstance(heads, int) and isinstance(width, int) and heads > 0 and width % heads == 0):
            raise ModelBroken(f"{where}: config.json has dim {width!r}, which {heads!r} heads do not divide")
        found |= {"num_attention_heads": heads, "attention_head_dim": width // heads}
    return {field: value for field, value in found.items() if field in _SAME}

"""Wan's own umT5 weight file (.pth) as a transformers model. Key names: Wan2.2 official code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wanprep.models.errors import ModelBroken
from wanprep.models.loading import check_loading_info

if TYPE_CHECKING:
    import torch
    from transformers import UMT5Config, UMT5EncoderModel

_BLOCK = re.compile(r"blocks\.(\d+)\.")
# Of one block: official name -> transformers' name.
_IN_BLOCK = {
    "norm1.weight": "layer.0.layer_norm.weight",
    "attn.q.weight": "layer.0.SelfAttention.q.weight",
    "attn.k.weight": "layer.0.SelfAttention.k.weight",
    "attn.v.weight": "layer.0.SelfAttention.v.weight",
    "attn.o.weight": "layer.0.SelfAttention.o.weight",
    "pos_embedding.embedding.weight": "layer.0.SelfAttention.relative_attention_bias.weight",
    "norm2.weight": "layer.1.layer_norm.weight",
    "ffn.gate.0.weight": "layer.1.DenseReluDense.wi_0.weight",
    "ffn.fc1.weight": "layer.1.DenseReluDense.wi_1.weight",
    "ffn.fc2.weight": "layer.1.DenseReluDense.wo.weight",
}
_LAYERS = {4096: 24}  # width of umT5-XXL -> its blocks: a file cut after one would go unnoticed


def names(layers: int) -> dict[str, str]:
    """Official name -> name in `UMT5EncoderModel`, for all tensors of an encoder."""
    mapped = {"token_embedding.weight": "shared.weight", "norm.weight": "encoder.final_layer_norm.weight"}
    for layer in range(layers):
        mapped |= {f"blocks.{layer}.{a}": f"encoder.block.{layer}.{b}" for a, b in _IN_BLOCK.items()}
    return mapped


def build(weights: Mapping[str, torch.Tensor], dtype: torch.dtype, where: Path) -> UMT5EncoderModel:
    """The encoder these weights are of; its sizes are read off their shapes.

    Raises:
        ModelBroken: a tensor is missing, not known or has another shape than the others call for; names it.
    """
    import torch
    from transformers import UMT5EncoderModel

    config = _config(weights, where)
    with torch.device("meta"):
        model: Any = UMT5EncoderModel(config)
    mapped = names(config.num_layers)
    wanted = {name: tensor.shape for name, tensor in model.state_dict().items()}
    _check(weights, {name: wanted[target] for name, target in mapped.items()}, where)
    # As transformers does in half precision: this product leaves the range of float16.
    fp32 = {name for name in mapped if name.endswith("ffn.fc2.weight") and dtype == torch.float16}
    state = {
        target: weights[name].to(torch.float32 if name in fp32 else dtype) for name, target in mapped.items()
    }
    state["encoder.embed_tokens.weight"] = state["shared.weight"]
    model.load_state_dict(state, strict=True, assign=True)
    encoder: UMT5EncoderModel = model.eval().requires_grad_(False)
    return encoder


def _config(weights: Mapping[str, torch.Tensor], where: Path) -> UMT5Config:
    from transformers import UMT5Config

    vocab, width = _shape(weights, "token_embedding.weight", where)
    attention, _ = _shape(weights, "blocks.0.attn.q.weight", where)
    feed_forward, _ = _shape(weights, "blocks.0.ffn.gate.0.weight", where)
    buckets, heads = _shape(weights, "blocks.0.pos_embedding.embedding.weight", where)
    layers = 1 + max(int(found[1]) for name in weights if (found := _BLOCK.match(name)))
    if layers != _LAYERS.get(width, layers):
        raise ModelBroken(f"model {where}: has {layers} blocks; umT5-XXL has {_LAYERS[width]}")
    return UMT5Config(
        vocab_size=vocab,
        d_model=width,
        d_kv=attention // max(1, heads),
        d_ff=feed_forward,
        num_layers=layers,
        num_heads=heads,
        relative_attention_num_buckets=buckets,
        relative_attention_max_distance=128,  # Wan2.2 official code
        layer_norm_epsilon=1e-6,  # Wan2.2 official code
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
    )


def _shape(weights: Mapping[str, torch.Tensor], name: str, where: Path) -> tuple[int, int]:
    if name not in weights:
        raise ModelBroken(
            f"model {where}: lacks the tensor {name}; it is no umT5 encoder of Wan, or is incomplete"
        )
    shape = tuple(weights[name].shape)
    if len(shape) != 2 or 0 in shape:
        raise ModelBroken(f"model {where}: tensor {name} has the shape {list(shape)}, no matrix's")
    return shape[0], shape[1]


def _check(weights: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Size], where: Path) -> None:
    both = wanted.keys() & weights.keys()
    info = {
        "missing_keys": wanted.keys() - weights.keys(),
        "unexpected_keys": weights.keys() - wanted.keys(),
        "mismatched_keys": [
            (name, tuple(weights[name].shape), tuple(wanted[name]))
            for name in both
            if weights[name].shape != wanted[name]
        ],
    }
    check_loading_info(info, where)
    for name in sorted(both):
        if not weights[name].is_floating_point():
            raise ModelBroken(f"model {where}: tensor {name} holds {weights[name].dtype}, no fractions")

"""A tiny wav2vec 2.0 in the layout of wav2vec2-large-xlsr-53-english: all files, all tensors, small widths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from wanprep.media.speech_frames import CONVOLUTIONS, SAMPLE_RATE
from wanprep.models.tiny_components import AUDIO_WIDTH

LAYERS = 24  # as many as the real one: whoever takes 25 hidden states takes these
_LETTERS = "|'-abcdefghijklmnopqrstuvwxyz"
_ENCODER = "wav2vec2."  # before the names of the encoder's tensors, the head's aside
_SPECIAL = {"pad": "<pad>", "bos": "<s>", "eos": "</s>", "unk": "<unk>"}

_Weights = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Widths of a checkpoint; the real one has 24 layers of 1024, 512 in its convolutions, 4096, and 16 heads."""

    layers: int = LAYERS
    channels: int = AUDIO_WIDTH
    convolution: int = 16
    feed_forward: int = 48
    heads: int = 4  # and groups of the positional convolution
    positions: int = 128


def make(folder: Path, seed: int, sizes: Sizes = Sizes()) -> None:
    """Writes the checkpoint as published, with the head that writes letters; equal seeds give equal bytes."""
    vocabulary = {token: number for number, token in enumerate([*_SPECIAL.values(), *_LETTERS])}
    weights = _weights(seed, sizes, len(vocabulary))
    _write_model(folder, sizes, "Wav2Vec2ForCTC", weights)
    write_processor(folder)
    _write(folder / "vocab.json", vocabulary)
    _write(folder / "special_tokens_map.json", {f"{name}_token": token for name, token in _SPECIAL.items()})


def write_encoder(folder: Path, seed: int, sizes: Sizes = Sizes()) -> None:
    """Config and weights of the encoder alone, under a `Wav2Vec2Model`'s own names, as diffusers' folders have it; of
    the same seed the same encoder as that of `make`."""
    whole = _weights(seed, sizes, len(_SPECIAL) + len(_LETTERS))
    encoder = {
        name.removeprefix(_ENCODER): value for name, value in whole.items() if name.startswith(_ENCODER)
    }
    _write_model(folder, sizes, "Wav2Vec2Model", encoder)


def write_processor(folder: Path) -> None:
    """Settings of the waveform's processor: 16 kHz, zero mean and unit variance."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(
        folder / "preprocessor_config.json",
        {
            "do_normalize": True,
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "feature_size": 1,
            "padding_side": "right",
            "padding_value": 0,
            "return_attention_mask": True,
            "sampling_rate": SAMPLE_RATE,
        },
    )


def _write_model(folder: Path, sizes: Sizes, architecture: str, weights: _Weights) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "config.json", _config(sizes, architecture))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _write(path: Path, document: Mapping[str, object]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _config(sizes: Sizes, architecture: str) -> dict[str, object]:
    return {
        "architectures": [architecture],
        "model_type": "wav2vec2",
        "activation_dropout": 0.05,
        "apply_spec_augment": True,
        "attention_dropout": 0.1,
        "bos_token_id": 1,
        "conv_bias": True,
        "conv_dim": [sizes.convolution] * len(CONVOLUTIONS),
        "conv_kernel": [kernel for kernel, _ in CONVOLUTIONS],
        "conv_stride": [stride for _, stride in CONVOLUTIONS],
        "do_stable_layer_norm": True,
        "eos_token_id": 2,
        "feat_extract_activation": "gelu",
        "feat_extract_norm": "layer",
        "feat_proj_dropout": 0.05,
        "final_dropout": 0.0,
        "hidden_act": "gelu",
        "hidden_dropout": 0.05,
        "hidden_size": sizes.channels,
        "intermediate_size": sizes.feed_forward,
        "layer_norm_eps": 1e-5,
        "layerdrop": 0.05,
        "mask_feature_prob": 0.0,
        "mask_time_length": 10,
        "mask_time_prob": 0.05,
        "num_attention_heads": sizes.heads,
        "num_conv_pos_embedding_groups": sizes.heads,
        "num_conv_pos_embeddings": sizes.positions,
        "num_feat_extract_layers": len(CONVOLUTIONS),
        "num_hidden_layers": sizes.layers,
        "pad_token_id": 0,
        "vocab_size": len(_SPECIAL) + len(_LETTERS),
    }


def _weights(seed: int, sizes: Sizes, vocabulary: int) -> _Weights:
    rng = np.random.default_rng(seed)
    weights: _Weights = {}

    def normal(name: str, *shape: int, scale: float, mean: float = 0.0) -> None:
        weights[name] = (mean + scale * rng.standard_normal(shape)).astype(np.float32)

    def dense(name: str, *shape: int) -> None:
        """A linear layer or convolution that keeps the variance of what it gets."""
        normal(f"{name}.weight", *shape, scale=float(np.prod(shape[1:])) ** -0.5)
        normal(f"{name}.bias", shape[0], scale=0.1)

    def norm(name: str, count: int) -> None:
        normal(f"{name}.weight", count, scale=0.1, mean=1.0)
        normal(f"{name}.bias", count, scale=0.1)

    width, channels = sizes.convolution, sizes.channels
    for index, (kernel, _) in enumerate(CONVOLUTIONS):
        layer = f"wav2vec2.feature_extractor.conv_layers.{index}"
        dense(f"{layer}.conv", width, width if index else 1, kernel)
        norm(f"{layer}.layer_norm", width)
    norm("wav2vec2.feature_projection.layer_norm", width)
    dense("wav2vec2.feature_projection.projection", channels, width)
    normal("wav2vec2.masked_spec_embed", channels, scale=0.5)
    position = "wav2vec2.encoder.pos_conv_embed.conv"
    normal(f"{position}.bias", channels, scale=0.1)
    # Weight normalisation: length (of each place in the kernel) and direction, under the names of the real file.
    normal(f"{position}.weight_g", 1, 1, sizes.positions, scale=0.05, mean=0.5)
    normal(f"{position}.weight_v", channels, channels // sizes.heads, sizes.positions, scale=0.1)
    for index in range(sizes.layers):
        layer = f"wav2vec2.encoder.layers.{index}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            dense(f"{layer}.attention.{part}", channels, channels)
        dense(f"{layer}.feed_forward.intermediate_dense", sizes.feed_forward, channels)
        dense(f"{layer}.feed_forward.output_dense", channels, sizes.feed_forward)
        norm(f"{layer}.layer_norm", channels)
        norm(f"{layer}.final_layer_norm", channels)
    norm("wav2vec2.encoder.layer_norm", channels)
    dense("lm_head", vocabulary, channels)
    return weights

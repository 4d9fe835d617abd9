"""Tiny components in the layouts of the real ones: seeded, written in a second, for tests and trial runs offline.

Their numbers mean nothing. What is real is everything around them: classes, files, tensor names, axes, the 257 tokens
of the image encoder, the 25 states of the audio encoder, the strides and channels of both VAEs.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from wanprep.models.vae_keys import PUBLISHED_NORMS

T = TypeVar("T")

# Widths of hidden states. Transformers are built for them, so that one tiny encoder serves all tiny generators.
TEXT_WIDTH = 32
IMAGE_WIDTH = 32
AUDIO_WIDTH = 32

_VAE_WIDTH = 8  # of the first layer; 96 in Wan2.1's

_SENTENCES = (
    "a woman in a red dress dances slowly in a bright room while the camera moves to the left",
    "a man with a beard talks to the camera and waves his hands, close up, soft light from the window",
    "the person is walking, turning and jumping in the street at night with neon lights in the background",
    "bad quality, blurry, still picture, deformed hands, too many fingers, subtitles, overexposed",
    "一个穿着红色裙子的女人在明亮的房间里慢慢跳舞，镜头向左移动",
    "视频中的人在做动作，背景是夜晚的街道，画面清晰，光线柔和",
    "色调艳丽，过曝，静态，细节模糊不清，字幕，最差质量，低质量，多余的手指，画得不好的手部",
)
_LONGEST_PIECE = 6  # characters


def library(name: str) -> Any:
    """A library whose classes say too little of themselves for a type checker, imported when it is needed."""
    return import_module(name)


def seeded(seed: int, make: Callable[[], T]) -> T:
    """What `make` returns when torch's random numbers start at `seed`; the caller's own go on as before."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' progress bars, which saving a few kilobytes needs none of."""
    logging = library("transformers.utils.logging")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def pieces() -> list[tuple[str, float]]:
    """A unigram vocabulary with scores: special tokens, printable ASCII, and what is frequent in a few English and
    Chinese sentences."""
    counts: Counter[str] = Counter()
    for sentence in _SENTENCES:
        for word in sentence.split():
            marked = f"▁{word}"
            counts.update(
                marked[start:end]
                for start in range(len(marked))
                for end in range(start + 1, min(len(marked), start + _LONGEST_PIECE) + 1)
            )
    counts.update(chr(code) for code in range(0x21, 0x7F))
    kept = {piece: count for piece, count in counts.items() if len(piece) == 1 or count > 1}
    total = sum(kept.values())
    # A constant order: sets and counters of equal counts have none of their own.
    ranked = sorted(kept.items(), key=lambda item: (-item[1], item[0]))
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return special + [(piece, math.log(count / total)) for piece, count in ranked]


def tokenizer() -> Any:
    """A T5 tokenizer with 512 as its limit, as umT5-XXL's: <pad> is 0, </s> is 1 and ends every text."""
    return library("transformers").T5Tokenizer(vocab=pieces(), extra_ids=0, model_max_length=512)


def text_encoder(seed: int) -> Any:
    """umT5's encoder: gated GELU, 32 relative buckets with a table of their own in each of 2 layers."""
    transformers = library("transformers")
    config = transformers.UMT5Config(
        vocab_size=len(pieces()),
        d_model=TEXT_WIDTH,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        tie_word_embeddings=False,
    )
    return seeded(seed, lambda: transformers.UMT5EncoderModel(config)).eval()


def image_encoder(seed: int) -> Any:
    """CLIP's image tower with ViT-H/14's grid: 224 pixels, patches of 14, 257 tokens; 3 layers of 32."""
    transformers = library("transformers")
    config = transformers.CLIPVisionConfig(
        hidden_size=IMAGE_WIDTH,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=224,
        patch_size=14,
        hidden_act="gelu",
        projection_dim=32,
    )
    return seeded(seed, lambda: transformers.CLIPVisionModel(config)).eval()


def image_processor() -> Any:
    """CLIP's own settings: shorter side to 224 bicubic, centre crop, its mean and deviation."""
    return library("transformers").CLIPImageProcessor()


def vae_z16(seed: int) -> Any:
    """Wan2.1's VAE: 16 channels, strides 4x8x8."""
    return _vae(seed, 16, {})


def vae_z48(seed: int) -> Any:
    """Wan2.2's VAE (TI2V-5B): 48 channels, strides 4x16x16, 2x2 patches, residual."""
    residual = {
        "decoder_base_dim": _VAE_WIDTH,
        "is_residual": True,
        "in_channels": 12,
        "out_channels": 12,
        "patch_size": 2,
        "scale_factor_spatial": 16,
    }
    return _vae(seed, 48, residual)


def _vae(seed: int, channels: int, more: Mapping[str, Any]) -> Any:
    """Narrow, and with one residual block where there are two; with the published latent mean and deviation."""
    diffusers = library("diffusers")
    mean, std = PUBLISHED_NORMS[channels]

    def make() -> Any:
        return diffusers.AutoencoderKLWan(
            base_dim=_VAE_WIDTH,
            z_dim=channels,
            num_res_blocks=1,
            latents_mean=list(mean),
            latents_std=list(std),
            **more,
        )

    return seeded(seed, make).eval()


def scheduler(flow_shift: float) -> Any:
    """UniPC on flow-matching sigmas, as in the published folders."""
    return library("diffusers").UniPCMultistepScheduler(
        num_train_timesteps=1000,
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=flow_shift,
    )


def write_image_encoder(folder: Path, seed: int) -> None:
    """`image_encoder/` and `image_processor/`, as in a diffusers pipeline's folder."""
    with quiet():
        image_encoder(seed).save_pretrained(folder / "image_encoder")
    image_processor().save_pretrained(folder / "image_processor")

"""umT5: states of a batch of prompts, against transformers' own encoder on the same padded batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.encoding.encoder import Encoder, Pair
from stages.text.layout import find_umt5
from stages.text.umt5 import Umt5Encoder
from wanprep.models import tiny_components

_TEXTS, _WORDS = 4, 40
# Half as wide as umT5-XXL, with 2 of its 24 equal layers; its table of tokens is not computed with.
_WIDTH, _LAYERS = 2048, 2
_SENTENCE = "a woman in a red dress dances slowly in a bright room while the camera moves to the left"


def _checkpoint(folder: Path) -> Path:
    model = folder / "umt5"
    if not (model / "text_encoder" / "model.safetensors").is_file():
        transformers: Any = tiny_components.library("transformers")
        tokenizer = tiny_components.tokenizer()
        tokenizer.save_pretrained(model / "tokenizer")
        config = transformers.UMT5Config(
            vocab_size=len(tokenizer),
            d_model=_WIDTH,
            d_kv=64,
            d_ff=_WIDTH * 5 // 2,
            num_layers=_LAYERS,
            num_heads=_WIDTH // 64,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
            tie_word_embeddings=False,
        )
        encoder = tiny_components.seeded(0, lambda: transformers.UMT5EncoderModel(config))
        encoder.save_pretrained(model / "text_encoder")
    return model


def _prompts() -> list[str]:
    rng = np.random.default_rng(0)
    words = _SENTENCE.split()
    return [" ".join(rng.choice(words, _WORDS)) for _ in range(_TEXTS)]


def _pair(folder: Path) -> Pair:
    import torch
    from tokenizers import Tokenizer
    from transformers import UMT5EncoderModel

    files = find_umt5(_checkpoint(folder))
    encoder = Umt5Encoder(
        files, device="cpu", precision="float32", storage="bfloat16", limit=512, batch=_TEXTS
    )
    model: Any = UMT5EncoderModel
    model = model.from_pretrained(files.weights, local_files_only=True).eval()
    tokenizer = Tokenizer.from_file(str(files.tokenizer))
    tokenizer.enable_padding(pad_id=0, pad_token="<pad>")
    prompts = _prompts()

    def ours() -> object:
        return encoder.encode([encoder.tokens(prompt) for prompt in prompts])

    def bare() -> object:
        encoded = tokenizer.encode_batch(prompts)
        ids_BL = torch.tensor([text.ids for text in encoded])
        mask_BL = torch.tensor([text.attention_mask for text in encoded])
        with torch.inference_mode():
            return model(input_ids=ids_BL, attention_mask=mask_BL).last_hidden_state.to(torch.bfloat16)

    tokens = len(encoder.tokens(prompts[0]).ids)
    return Pair(f"{_TEXTS} prompts of about {tokens} tokens, {_LAYERS} layers of {_WIDTH}", ours, bare)


ENCODER = Encoder(pair=_pair)

"""Tiny Qwen-VL checkpoints in the layout of the real ones, for trying a whole chain without a download.

Their captions are words in no order. What is real: classes, files, tensor names, the byte-level tokenizer with its
special tokens, the chat template's form, patches, merging and the times of frames.
"""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wanprep.models.tiny_components import seeded

if TYPE_CHECKING:
    import torch

_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_TEXT = (
    "A person stands in the middle of the frame and looks at the camera, in a medium shot from the front. "
    "The left hand rises, turns slowly and comes down again while the head leans to the right. "
    "The mouth opens and closes as in speech; shoulders, arms and fingers move with the words. "
    "Behind the person are a bright wall, a window on the left and a table with a lamp. The light is soft. "
    "The camera is fixed, then it comes a little closer. Write one paragraph in English.",
    "一个人站在画面中央，面向镜头。左手慢慢抬起，然后放下，头向右倾。镜头固定不动，背景是明亮的墙和窗户。",
)
_MERGES = 256  # pieces of more than one byte, at most
_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_WIDTH, _LAYERS, _HEADS = 32, 2, 2
_SHARD = "300KB"  # so that there are several, and an index, as in the real ones


def qwen3_vl(folder: Path, seed: int) -> None:
    """Writes a Qwen3-VL of two layers: patches of 16, times of frames as text, deep-stack features."""
    library = _library()
    tokenizer = _tokenizer()
    vision = {
        "depth": _LAYERS,
        "hidden_size": _WIDTH,
        "intermediate_size": 2 * _WIDTH,
        "num_heads": _HEADS,
        "out_hidden_size": _WIDTH,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }
    config = library.Qwen3VLConfig(
        text_config=_text_config(tokenizer) | {"head_dim": _WIDTH // _HEADS},
        vision_config=vision,
        **_token_ids(tokenizer),
    )
    config.text_config.rope_parameters["mrope_interleaved"] = True
    model = seeded(seed, lambda: library.Qwen3VLForConditionalGeneration(config))
    image = library.Qwen2VLImageProcessor(patch_size=16)
    _save(folder, model, tokenizer, "Qwen3VLProcessor", image, library.Qwen3VLVideoProcessor())


def qwen2_5_vl(folder: Path, seed: int) -> None:
    """Writes a Qwen2.5-VL of two layers: patches of 14, window attention, times of frames in the positions."""
    library = _library()
    tokenizer = _tokenizer()
    vision = {
        "depth": _LAYERS,
        "hidden_size": _WIDTH,
        "intermediate_size": 2 * _WIDTH,
        "num_heads": _HEADS,
        "out_hidden_size": _WIDTH,
        "fullatt_block_indexes": [1],
        "tokens_per_second": 2,
    }
    config = library.Qwen2_5_VLConfig(
        text_config=_text_config(tokenizer), vision_config=vision, **_token_ids(tokenizer)
    )
    model = seeded(seed, lambda: library.Qwen2_5_VLForConditionalGeneration(config))
    image = library.Qwen2VLImageProcessor(patch_size=14)
    _save(folder, model, tokenizer, "Qwen2_5_VLProcessor", image, library.Qwen2VLVideoProcessor())


def _library() -> Any:
    import transformers

    return transformers


def _text_config(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": _WIDTH,
        "intermediate_size": 2 * _WIDTH,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": 1,
        "max_position_embeddings": 32768,
        "bos_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        "eos_token_id": tokenizer.convert_tokens_to_ids("<|im_end|>"),
        # Sections of the half head: time, height, width.
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 2, 2]},
    }


def _token_ids(tokenizer: Any) -> dict[str, int]:
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {name: int(tokenizer.convert_tokens_to_ids(token)) for name, token in names.items()}


def _tokenizer() -> Any:
    """A byte-level BPE, trained here and now on a few sentences: any text in any language comes back from it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    bpe: Any = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=256 + _MERGES,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_TEXT, trainer)
    trained = json.loads(bpe.to_str())["model"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in trained["merges"]]
    end, pad = "<|im_end|>", "<|endoftext|>"
    return _library().Qwen2Tokenizer(
        vocab=trained["vocab"],
        merges=merges,
        eos_token=end,
        pad_token=pad,
        unk_token=None,
        additional_special_tokens=list(_SPECIAL),
        model_max_length=32768,
    )


def _save(folder: Path, model: Any, tokenizer: Any, processor_class: str, image: Any, video: Any) -> None:
    import torch

    with torch.no_grad():
        _make_readable(model.get_output_embeddings().weight, tokenizer)
    model.generation_config = _library().GenerationConfig(
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
        pad_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"),
    )
    bars = _library().utils.logging
    showing = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        model.save_pretrained(str(folder), max_shard_size=_SHARD)
    finally:
        if showing:
            bars.enable_progress_bar()
    # One file each, as the published checkpoints have them, where the library now writes one for all.
    image.save_pretrained(str(folder))
    video.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": _CHAT}, indent=2) + "\n")
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        document = json.loads((folder / name).read_text())
        document["processor_class"] = processor_class
        (folder / name).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


def _make_readable(head_VC: torch.Tensor, tokenizer: Any) -> None:
    """Keeps the model to whole words: rows of bytes, marks and special tokens become zeros, which no largest one of
    some hundred random numbers falls below."""
    for token, number in tokenizer.get_vocab().items():
        text = tokenizer.decode([number])
        letters = all(unicodedata.category(char)[0] in "LZ" for char in text)
        if token in _SPECIAL or len(text.strip()) < 2 or not letters:
            head_VC[number] = 0.0

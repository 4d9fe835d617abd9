"""Qwen3-VL: the caption of a few pictures, against transformers' own processor and `generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.encoding.encoder import Encoder, Pair
from stages.caption.config import CaptionConfig
from stages.caption.sampling import Sample
from stages.caption.tiny import qwen3_vl
from stages.caption.vision_language import VisionLanguageWriter

_FRAMES, _SIDE, _TOKENS = 8, 448, 32
_PROMPT = "Describe the person, what they do and where the camera stands."


def _pair(folder: Path) -> Pair:
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    path = folder / "qwen3-vl"
    if not (path / "config.json").is_file():
        qwen3_vl(path, 0)
    config = CaptionConfig(
        backend="transformers", model=str(path), device="cpu", precision="float32", max_tokens=_TOKENS
    )
    writer = VisionLanguageWriter(config)
    library: Any = AutoModelForImageTextToText
    model = library.from_pretrained(path, local_files_only=True, dtype=torch.float32).eval()
    processors: Any = AutoProcessor
    processor = processors.from_pretrained(path, local_files_only=True)
    rng = np.random.default_rng(0)
    frames_THWC = rng.integers(0, 255, (_FRAMES, _SIDE, _SIDE, 3), np.uint8)
    sample = Sample(
        medium="video",
        frames_THWC=frames_THWC,
        times_T=np.arange(_FRAMES) / 3,
        seconds=_FRAMES / 3,
        source_size=(_SIDE, _SIDE),
    )
    metadata = {
        "fps": 3.0,
        "total_num_frames": _FRAMES,
        "frames_indices": list(range(_FRAMES)),
        "duration": _FRAMES / 3,
    }
    content = [{"type": "video"}, {"type": "text", "text": _PROMPT}]

    def ours() -> object:
        return writer.write(_PROMPT, sample)

    def bare() -> object:
        text = processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        inputs = processor(
            text=[text],
            videos=[list(frames_THWC)],
            videos_kwargs={"do_sample_frames": False, "do_resize": False, "video_metadata": [metadata]},
            return_tensors="pt",
        )
        with torch.inference_mode():
            ids = model.generate(**inputs, max_new_tokens=_TOKENS, do_sample=False)
        return processor.tokenizer.decode(ids[0], skip_special_tokens=True)

    return Pair(f"{_FRAMES} pictures of {_SIDE}x{_SIDE}, {_TOKENS} tokens, tiny model", ours, bare)


ENCODER = Encoder(pair=_pair)

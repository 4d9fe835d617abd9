"""CLIP: the penultimate state of a picture, against transformers' own processor and model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.encoding.encoder import Encoder, Pair
from schemas import ClipRecord
from stages.image_embed.stage import ImageEmbed, ImageEmbedConfig
from wanprep.models import tiny_components
from wanprep.stage import ClipContext

_LAYERS = 4  # of ViT-H/14's 32 equal ones, at its own width of 1280
_SIZE = (832, 480)


def _checkpoint(folder: Path) -> Path:
    model = folder / "clip"
    if not (model / "image_encoder" / "model.safetensors").is_file():
        transformers: Any = tiny_components.library("transformers")
        config = transformers.CLIPVisionConfig(
            hidden_size=1280,
            intermediate_size=5120,
            num_hidden_layers=_LAYERS,
            num_attention_heads=16,
            image_size=224,
            patch_size=14,
            hidden_act="gelu",
        )
        tower = tiny_components.seeded(0, lambda: transformers.CLIPVisionModel(config))
        tower.save_pretrained(model / "image_encoder")
    return model


def _pair(folder: Path) -> Pair:
    import torch
    from PIL import Image
    from transformers import CLIPImageProcessor, CLIPVisionModel

    path = _checkpoint(folder)
    picture = folder / "reference.png"
    width, height = _SIZE
    pixels_HWC = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    cv2.imwrite(str(picture), cv2.GaussianBlur(pixels_HWC, (0, 0), 5))
    stage = ImageEmbed(
        ImageEmbedConfig(backend="clip", model=str(path), rule="centre_crop", device="cpu", storage="float32")
    )
    stage.setup()
    tower: Any = CLIPVisionModel
    tower = tower.from_pretrained(path / "image_encoder", local_files_only=True).eval()
    processor = CLIPImageProcessor()

    def ours() -> object:
        clip = ClipRecord(clip_id="clip", recipe="recipe", reference=str(picture))
        return stage.run(ClipContext(clip, {}, folder), {})

    def bare() -> object:
        with Image.open(picture) as image:
            values = processor(images=image.convert("RGB"), return_tensors="pt").pixel_values
        with torch.inference_mode():
            return tower(pixel_values=values, output_hidden_states=True).hidden_states[-2].numpy()

    return Pair(f"1 picture of {width}x{height}, {_LAYERS} layers of 1280", ours, bare)


ENCODER = Encoder(pair=_pair)

"""Finds the image tower in the layouts that it is published in, and loads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.image_embed.official import vision_config, vision_weights
from wanprep.models.errors import ModelBroken
from wanprep.models.loading import check_safetensors, from_pretrained, load_pth, strict_load
from wanprep.models.resolve import LocalModel

if TYPE_CHECKING:
    import torch

# In Wan's own folders.
OFFICIAL_FILE = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
# What of a larger folder is read, and so is the model.
PARTS = ("image_encoder", OFFICIAL_FILE)
# A whole CLIP holds a text tower and projections besides; old files a list of positions that counts from 0.
_BESIDES = (r"text_model\.", r"(text|visual)_projection\.", r"logit_scale$", r"(.*\.)?position_ids$")


def find_tower(path: Path) -> Path:
    """The folder (diffusers, transformers) or the weight file (official) that holds the image tower.

    Raises:
        ModelBroken: there is none at `path`.
    """
    if path.is_file():
        return path
    for folder in (path / "image_encoder", path):
        if _is_clip(folder / "config.json"):
            return folder
    if (path / OFFICIAL_FILE).is_file():
        return path / OFFICIAL_FILE
    raise ModelBroken(
        f"model {path}: holds no CLIP image encoder; it should have image_encoder/config.json, a config.json of a "
        f"CLIPVisionModel, or {OFFICIAL_FILE}"
    )


def _is_clip(config: Path) -> bool:
    if not config.is_file():
        return False
    try:
        said = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelBroken(f"model {config}: is not readable as JSON ({type(error).__name__})") from error
    return isinstance(said, dict) and said.get("model_type") in ("clip_vision_model", "clip")


def tower_digest(model: LocalModel) -> str:
    """The digest of the image tower alone, the same wherever its folder lies; hex.

    Raises:
        ModelBroken: there is no image tower, or a file cannot be read.
    """
    return LocalModel(model.name, find_tower(model.path)).digest()


def load_tower(path: Path, dtype: torch.dtype) -> Any:
    """The image tower at `path`, a CLIPVisionModel of transformers on the CPU in evaluation mode.

    Raises:
        ModelBroken: nothing is there, a file is damaged, or a tensor is missing, left over or of another shape.
    """
    from transformers import CLIPVisionModel

    tower: Any = CLIPVisionModel
    found = find_tower(path)
    if found.is_dir():
        model = from_pretrained(tower, found, ignore=_BESIDES, dtype=dtype)
    else:
        weights = vision_weights(_read(found), f"model {found}")
        config = vision_config(weights, f"model {found}")
        model = strict_load(
            lambda: tower.from_pretrained(
                None,
                config=config,
                state_dict=weights,
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that they are listed, and refused
            ),
            found,
        )
    return model.eval()


def _read(file: Path) -> dict[str, torch.Tensor]:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        check_safetensors(file)
        return load_file(file)
    # Mapped: the text tower beside the image tower, four gigabytes, is not read.
    return load_pth(file)

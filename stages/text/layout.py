"""Finds the files of a umT5 encoder in the layouts it is published in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wanprep.models.errors import ModelBroken, ModelMissing

OFFICIAL_WEIGHTS = "models_t5_umt5-xxl-enc-bf16.pth"
OFFICIAL_TOKENIZER = "google/umt5-xxl"
_TOKENIZER_FILE = "tokenizer.json"
#: What of a folder that holds a whole pipeline is looked at.
PARTS = ("text_encoder", "tokenizer", OFFICIAL_WEIGHTS, OFFICIAL_TOKENIZER)


@dataclass(frozen=True, slots=True)
class Umt5Files:
    """`weights` is a folder in the layout of transformers, or with `official` the weight file of Wan's release;
    `tokenizer` is a tokenizer.json."""

    weights: Path
    tokenizer: Path
    official: bool


def find_umt5(path: Path) -> Umt5Files:
    """The encoder and the tokenizer of a folder or a weight file.

    Args:
        path: a diffusers folder (text_encoder/ and tokenizer/), its text_encoder/, an official Wan folder
            (`models_t5_umt5-xxl-enc-bf16.pth` and google/umt5-xxl/), that .pth file, or a folder of transformers.

    Raises:
        ModelMissing: the encoder or its tokenizer is not there; says what was looked for.
        ModelBroken: the tokenizer's folder has no tokenizer.json.
    """
    if path.is_file():
        if path.suffix != ".pth":
            raise ModelMissing(
                f"{path}: is no umT5 encoder that can be read; give {OFFICIAL_WEIGHTS} or a folder with "
                "text_encoder/ and tokenizer/"
            )
        return Umt5Files(path, _tokenizer(path.parent, (OFFICIAL_TOKENIZER, "tokenizer")), official=True)
    if (path / OFFICIAL_WEIGHTS).is_file():
        found = _tokenizer(path, (OFFICIAL_TOKENIZER, "tokenizer"))
        return Umt5Files(path / OFFICIAL_WEIGHTS, found, official=True)
    if (path / "text_encoder/config.json").is_file():
        return Umt5Files(path / "text_encoder", _tokenizer(path, ("tokenizer",)), official=False)
    if (path / "config.json").is_file():
        inside = path if (path / _TOKENIZER_FILE).is_file() else path.parent / "tokenizer"
        return Umt5Files(path, _tokenizer(inside, (".",)), official=False)
    raise ModelMissing(
        f"{path}: has no umT5 encoder (looked for text_encoder/config.json, config.json and {OFFICIAL_WEIGHTS})"
    )


def find_language_model(path: Path) -> tuple[Path, Path]:
    """The folders of a model and of its tokenizer: one folder as language models are published, or two of a
    diffusers folder.

    Raises:
        ModelMissing: there is no config.json.
    """
    if (path / "text_encoder/config.json").is_file():
        return path / "text_encoder", path / "tokenizer"
    if (path / "config.json").is_file():
        return path, path
    raise ModelMissing(f"{path}: has no language model (looked for config.json and text_encoder/config.json)")


def _tokenizer(folder: Path, places: tuple[str, ...]) -> Path:
    for place in places:
        if (folder / place / _TOKENIZER_FILE).is_file():
            return folder / place / _TOKENIZER_FILE
    for place in places:
        if (folder / place).is_dir():
            raise ModelBroken(no_tokenizer_file(folder / place))
    raise ModelMissing(
        f"{folder}: has no tokenizer (looked for {' and '.join(f'{p}/{_TOKENIZER_FILE}' for p in places)})"
    )


def no_tokenizer_file(folder: Path) -> str:
    """What is wrong with a tokenizer's folder without tokenizer.json, and what mends it."""
    alone = " (spiece.model alone is not read)" if (folder / "spiece.model").is_file() else ""
    return f"{folder}: has no {_TOKENIZER_FILE}{alone}; published tokenizers carry it, fetch it beside the other files"

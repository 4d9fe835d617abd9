"""Finds wav2vec 2.0 in the layouts that it is published in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wanprep.key import file_digest
from wanprep.models.resolve import digest, resolve

# Where the two published layouts of Wan2.2-S2V keep the encoder, and the second one its processor.
_ENCODERS = ("wav2vec2-large-xlsr-53-english", "audio_encoder")
_PROCESSOR = "audio_processor"
_SETTINGS = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True, slots=True)
class EncoderFiles:
    folder: Path  # with config.json and weights
    processor: Path | None  # settings of the waveform's processor; None: the family's own


def find_encoder(path: Path) -> EncoderFiles:
    """The encoder in its own folder, or in that of a Wan2.2-S2V release."""
    folder = next((path / part for part in _ENCODERS if (path / part).is_dir()), path)
    places = [folder, path / _PROCESSOR] if folder != path else [folder]
    settings = (place / name for place in places for name in _SETTINGS)
    return EncoderFiles(folder, next((file for file in settings if file.is_file()), None))


def encoder_digests(model: str) -> Mapping[str, str]:
    """What enters the key: the encoder's digest, the same wherever its folder lies, and that of a processor beside it.

    Raises:
        ModelMissing: it is not on this machine.
        ModelBroken: a file cannot be read.
    """
    files = find_encoder(resolve(model).path)
    digests = {"wav2vec2": digest(str(files.folder))}
    if files.processor is not None and files.processor.parent != files.folder:
        digests["processor"] = file_digest(str(files.processor))
    return digests

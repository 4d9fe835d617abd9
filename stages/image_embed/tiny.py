"""The tiny checkpoint of `clip-vit-h-14`."""

from __future__ import annotations

from pathlib import Path

from wanprep.models.tiny_components import write_image_encoder


def write_tiny(folder: Path, seed: int) -> None:
    """Writes image_encoder/ and image_processor/ as in Wan2.2-Animate's diffusers folder; the same bytes each time."""
    write_image_encoder(folder, seed)

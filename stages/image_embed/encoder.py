"""Runs the image tower."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stages.image_embed.checkpoint import load_tower

if TYPE_CHECKING:
    import torch

HIDDEN_LAYER = -2  # after all blocks but the last, as in Wan2.2's official code and in diffusers


class ImageTower:
    """A CLIP vision transformer on its device."""

    def __init__(self, path: Path, device: torch.device, dtype: torch.dtype) -> None:
        self._model = load_tower(path, dtype).to(device)
        self._device = device
        self._dtype = dtype

    @property
    def side(self) -> int:
        """Pixels of the square that it takes."""
        return int(self._model.config.image_size)

    def embed_TC(self, pixels_CHW: torch.Tensor) -> torch.Tensor:
        """The penultimate hidden state of a normalised square: float32 [tokens, width] on the CPU.

        Raises:
            ModelOutOfMemory: one picture does not fit on the GPU.
        """
        import torch

        from wanprep.models.device import with_less

        def attempt(pictures: int) -> torch.Tensor:
            with torch.inference_mode():
                pixels_BCHW = pixels_CHW[None].to(self._device, self._dtype)
                states = self._model(pixel_values=pixels_BCHW, output_hidden_states=True).hidden_states
            embed_TC: torch.Tensor = states[HIDDEN_LAYER][0].float().cpu()
            return embed_TC

        return with_less([1], attempt)

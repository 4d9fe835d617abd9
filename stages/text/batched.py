"""Runs a network over texts of unlike length: padded on the right, masked, and trimmed again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from schemas.tensor import BFLOAT16, Tensor
from stages.text.encoder import Tokens
from wanprep.models.device import with_less
from wanprep.models.errors import ModelBroken

if TYPE_CHECKING:
    import torch

Storage = Literal["bfloat16", "float16", "float32"]
# Texts at a time. A GPU waits for its weights; a CPU is no faster with several (measured) and pads for nothing.
_ON_GPU, _ON_CPU = 16, 1


class BatchedEncoder(ABC):
    """Base of encoders that are networks. Subclasses say what the states of a padded batch are."""

    channels: int

    def __init__(self, *, device: torch.device, batch: int | None, storage: Storage, pad_id: int) -> None:
        self._device = device
        self._storage = storage
        self._pad_id = pad_id
        self.batch = batch or (_ON_GPU if device.type == "cuda" else _ON_CPU)

    @abstractmethod
    def states_BLC(self, ids_BL: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        """States of a batch; `mask_BL` is 1 at tokens and 0 at padding, both int64."""

    @abstractmethod
    def describe(self) -> str:
        """The model and its precision, for errors."""

    def skip(self, length: int) -> int:
        """How many states at the start are left out of a text of `length` tokens."""
        return 0

    @property
    def device(self) -> str:
        return self._device.type

    def encode(self, texts: Sequence[Tokens]) -> list[Tensor]:
        """States of each text [tokens, channels] in the stored dtype, batched by length."""
        # Longest first: what does not fit shows before anything is done.
        order = sorted(range(len(texts)), key=lambda index: -len(texts[index].ids))
        sizes = [self.batch]
        while sizes[-1] > 1:
            sizes.append(sizes[-1] // 2)

        def attempt(size: int) -> list[Tensor]:
            found: dict[int, Tensor] = {}
            for start in range(0, len(order), size):
                part = order[start : start + size]
                found.update(zip(part, self._encode([texts[index] for index in part]), strict=True))
            self.batch = size  # what did not fit once will not fit the next time
            return [found[index] for index in range(len(texts))]

        return with_less(sizes, attempt)

    def _encode(self, texts: Sequence[Tokens]) -> list[Tensor]:
        import torch

        lengths = [len(text.ids) for text in texts]
        # One column at least: a tokenizer without marks gives none for the empty text, and networks want one.
        ids_BL = np.full((len(texts), max(1, *lengths)), self._pad_id, np.int64)
        mask_BL = np.zeros_like(ids_BL)
        for row, text in enumerate(texts):
            ids_BL[row, : lengths[row]] = text.ids
            mask_BL[row, : lengths[row]] = 1
        with torch.inference_mode():
            states_BLC = self.states_BLC(
                torch.from_numpy(ids_BL).to(self._device), torch.from_numpy(mask_BL).to(self._device)
            )
            return [
                self._stored(states_LC[self.skip(length) : length])
                for states_LC, length in zip(states_BLC, lengths, strict=True)
            ]

    def _stored(self, states_LC: torch.Tensor) -> Tensor:
        import torch

        if not bool(torch.isfinite(states_LC).all()):
            raise ModelBroken(
                f"{self.describe()} gives states that are not finite; take precision=bfloat16 or float32"
            )
        if self._storage == "bfloat16":
            # NumPy gets the bits: PyTorch hands it no bfloat16.
            bits: Tensor = states_LC.to(torch.bfloat16).contiguous().view(torch.int16).cpu().numpy()
            return bits.view(BFLOAT16)
        wanted = torch.float16 if self._storage == "float16" else torch.float32
        out: Tensor = states_LC.to(wanted).contiguous().cpu().numpy()
        if not np.isfinite(out).all():
            raise ModelBroken(f"{self.describe()} gives states beyond float16; take storage=bfloat16")
        return out

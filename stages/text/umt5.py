"""umT5-XXL's encoder, as Wan2.2 uses it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.text import official
from stages.text.batched import BatchedEncoder, Storage
from stages.text.encoder import Tokens
from stages.text.layout import Umt5Files
from stages.text.tokenizer import Umt5Tokenizer
from wanprep.models.device import Device, Precision, torch_device, torch_dtype
from wanprep.models.errors import ModelBroken
from wanprep.models.loading import from_pretrained, load_pth

if TYPE_CHECKING:
    import torch
    from transformers import UMT5EncoderModel

# What a whole umT5 checkpoint holds beside its encoder.
_NOT_THE_ENCODER = (r"decoder\.", r"lm_head\.")


class Umt5Encoder(BatchedEncoder):
    """States after the final norm, one a token and one for the end mark."""

    name = "umt5"

    def __init__(
        self,
        files: Umt5Files,
        *,
        device: Device,
        precision: Precision,
        storage: Storage,
        limit: int,
        batch: int | None,
    ) -> None:
        """
        Raises:
            UsageError: cuda was asked for and there is none.
            ModelBroken: the tokenizer or a tensor is missing or wrong; names it.
        """
        self._tokenizer = Umt5Tokenizer(files.tokenizer, limit)
        super().__init__(
            device=torch_device(device), batch=batch, storage=storage, pad_id=self._tokenizer.pad_id
        )
        self.precision: Precision = precision
        self._where = files.weights
        model: Any = load_umt5(files.weights, precision, from_release=files.official)
        if model.config.vocab_size < self._tokenizer.size:
            raise ModelBroken(
                f"{files.tokenizer}: has {self._tokenizer.size} tokens, {files.weights} only "
                f"{model.config.vocab_size}; they do not belong together"
            )
        self._model = model.to(self._device)
        self.channels = model.config.d_model

    def tokens(self, text: str) -> Tokens:
        return self._tokenizer(text)

    def states_BLC(self, ids_BL: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        states_BLC: torch.Tensor = self._model(input_ids=ids_BL, attention_mask=mask_BL).last_hidden_state
        return states_BLC

    def describe(self) -> str:
        return f"{self._where.name} in {self.precision}"


def load_umt5(weights: Path, precision: Precision, *, from_release: bool) -> UMT5EncoderModel:
    """The encoder of a transformers folder, or with `from_release` of Wan's own .pth file, on the CPU.

    Raises:
        ModelBroken: a file or tensor is missing or wrong; names it.
    """
    dtype = torch_dtype(precision)
    if from_release:
        return official.build(load_pth(weights), dtype, weights)
    from transformers import UMT5EncoderModel

    model: Any = from_pretrained(UMT5EncoderModel, weights, dtype=dtype, ignore=_NOT_THE_ENCODER)
    encoder: UMT5EncoderModel = model.eval().requires_grad_(False)
    return encoder

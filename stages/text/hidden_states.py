"""Any language or vision-language model of transformers as a text encoder: the hidden states of one layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.text.batched import BatchedEncoder, Storage
from stages.text.encoder import Tokens
from stages.text.layout import no_tokenizer_file
from wanprep.errors import UsageError
from wanprep.models.device import Device, Precision, torch_device, torch_dtype
from wanprep.models.errors import ModelBroken
from wanprep.models.loading import from_pretrained

if TYPE_CHECKING:
    import torch


class HiddenStateEncoder(BatchedEncoder):
    """States after one of a model's layers.

    Layer -1 is the model's output, after its final norm; 0 the token embeddings, n what the n-th block gives,
    before that norm.
    """

    name = "transformers"

    def __init__(
        self,
        folder: Path,
        tokenizer: Path,
        *,
        layer: int,
        chat: bool,
        system: str | None,
        skip: int,
        device: Device,
        precision: Precision,
        storage: Storage,
        limit: int,
        batch: int | None,
    ) -> None:
        """
        Raises:
            UsageError: the model has no such layer or chat template, or takes fewer tokens than `limit`.
            ModelBroken: the tokenizer or a tensor is missing or wrong; names it.
        """
        self._folder, self._layer, self._limit, self._skip = folder, layer, limit, skip
        self._chat, self._system = chat, system
        self._tokenizer = _load_tokenizer(tokenizer)
        if chat and not self._tokenizer.chat_template:
            raise UsageError(f"hidden.chat=true: {tokenizer} has no chat template; take hidden.chat=false")
        pad = self._tokenizer.pad_token_id
        super().__init__(
            device=torch_device(device), batch=batch, storage=storage, pad_id=0 if pad is None else pad
        )
        self.precision: Precision = precision
        self._model = _load_model(folder, precision)
        text_config = self._model.config.get_text_config()
        self._check(text_config)
        self._model = self._model.to(self._device)
        self.channels = text_config.hidden_size

    def _check(self, text_config: Any) -> None:
        layers = text_config.num_hidden_layers
        if not -layers - 1 <= self._layer <= layers:
            raise UsageError(
                f"hidden.layer={self._layer}: {self._folder} has the layers 0 to {layers}, or -1"
            )
        most = getattr(text_config, "max_position_embeddings", None)
        if isinstance(most, int) and 0 < most < self._limit:
            raise UsageError(
                f"limit={self._limit}: {self._folder} takes {most} tokens at most; set limit={most}"
            )

    def tokens(self, text: str) -> Tokens:
        if not self._chat:
            whole = self._tokenizer(text, verbose=False)["input_ids"]
            cut = self._tokenizer(text, truncation=True, max_length=self._limit)["input_ids"]
            return Tokens(tuple(cut), len(whole))
        messages = [{"role": "system", "content": self._system}] if self._system is not None else []
        # As text first: the template of a vision-language model is its processor's, and gives no ids.
        said = self._tokenizer.apply_chat_template(
            [*messages, {"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
        )
        whole = self._tokenizer(said, add_special_tokens=False, verbose=False)["input_ids"]
        return Tokens(tuple(whole[: self._limit]), len(whole))

    def states_BLC(self, ids_BL: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        inner = self._layer not in (-1, self._model.config.get_text_config().num_hidden_layers)
        out = self._model(input_ids=ids_BL, attention_mask=mask_BL, output_hidden_states=inner)
        states_BLC: torch.Tensor = out.hidden_states[self._layer] if inner else out.last_hidden_state
        return states_BLC

    def skip(self, length: int) -> int:
        return min(self._skip, length)

    def describe(self) -> str:
        return f"{self._folder.name} in {self.precision}"


def _load_tokenizer(folder: Path) -> Any:
    """The tokenizer that tokenizer.json describes: the class of the model would rebuild it from its vocabulary."""
    from transformers import PreTrainedTokenizerFast

    if not (folder / "tokenizer.json").is_file():
        raise ModelBroken(no_tokenizer_file(folder))
    try:
        return PreTrainedTokenizerFast.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # the library raises whatever its parsers do
        why = " ".join(str(error).split())[:200]
        raise ModelBroken(f"{folder}: its tokenizer cannot be loaded ({why})") from error


def _load_model(folder: Path, precision: Precision) -> Any:
    """The part of a model that turns token ids into states: no head, no decoder."""
    import transformers

    try:
        # False, not left out: then transformers asks on the terminal whether to run code that a folder names.
        config = transformers.AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        why = " ".join(str(error).split())[:200]
        raise ModelBroken(f"{folder}: its config.json cannot be loaded ({why})") from error
    (architecture, *_) = config.architectures or [None]
    found = getattr(transformers, architecture or "", None)
    if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
        raise ModelBroken(
            f"{folder}/config.json: names the architecture {architecture!r}, which is no model here"
        )
    model = from_pretrained(found, folder, dtype=torch_dtype(precision))
    model.eval().requires_grad_(False)
    if config.is_encoder_decoder:
        return model.get_encoder()
    return model.base_model

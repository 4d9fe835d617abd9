"""umT5's tokenizer, read from its tokenizer.json alone.

The file is taken as it is: transformers 5 would rebuild the tokenizer from its vocabulary and drop the rest of it
(normalisation, byte fallback), and wants protobuf for a folder that has only spiece.model.
"""

from __future__ import annotations

from pathlib import Path

from stages.text.encoder import Tokens
from wanprep.models.errors import ModelBroken

PAD, END = "<pad>", "</s>"


class Umt5Tokenizer:
    """Tokens of a text with the end mark behind them, cut to `limit` tokens with the end mark kept."""

    def __init__(self, file: Path, limit: int) -> None:
        """
        Raises:
            ModelBroken: the file is no tokenizer, or lacks the padding or end mark.
        """
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises plain exceptions
            raise ModelBroken(f"{file}: is no tokenizer ({error})") from error
        # A file may ask for either; the stage does both itself and counts what is cut.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._limit = limit
        self.pad_id = self._mark(PAD, file)
        self._end_id = self._mark(END, file)
        self.size = self._tokenizer.get_vocab_size()

    def _mark(self, mark: str, file: Path) -> int:
        found = self._tokenizer.token_to_id(mark)
        if found is None:
            raise ModelBroken(f"{file}: has no token {mark}; umT5's tokenizer has")
        return int(found)

    def __call__(self, text: str) -> Tokens:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        kept = (*ids[: self._limit - 1], self._end_id)
        return Tokens(kept, len(ids) + 1)

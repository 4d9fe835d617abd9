"""A tiny umT5 checkpoint with its tokenizer, in the layout of diffusers folders."""

from __future__ import annotations

from pathlib import Path

from wanprep.models.tiny_components import text_encoder, tokenizer


def make_umt5(folder: Path, seed: int) -> None:
    """Writes text_encoder/ and tokenizer/ into `folder`; equal seeds give equal bytes."""
    text_encoder(seed).save_pretrained(folder / "text_encoder")
    tokenizer().save_pretrained(folder / "tokenizer")

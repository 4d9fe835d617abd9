"""Text embeddings: umT5 as Wan2.2 takes it, any other language model, or hashed letter groups without a model."""

from stages.text.config import NegativeTextConfig, TextConfig
from stages.text.stage import NegativeText, Text

__all__ = ["NegativeText", "NegativeTextConfig", "Text", "TextConfig"]

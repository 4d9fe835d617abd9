"""Stages `text` and `negative_text`: embeddings of clips' texts, and of negative prompts once for all clips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any, ClassVar, TypeVar

import numpy as np

from schemas import ClipRecord, NegativeTextRecord, Record, TextRecord
from stages.text.ahead import Ahead
from stages.text.cleaning import clean
from stages.text.config import EncoderConfig, NegativeTextConfig, TextConfig
from stages.text.encoder import TextEncoder
from stages.text.encoders import make_encoder, model_digests, unavailable, weight_bytes
from stages.text.hashed import CACHED_WORDS
from stages.text.negative import negative_prompt
from wanprep.key import text_digest
from wanprep.stage import ClipContext, Media, Resources, Skipped, Stage, StageConfig

E = TypeVar("E", bound=EncoderConfig)

_CLEANING_MEMORY = 20 << 20  # bytes
_LIBRARIES_MEMORY = 700 << 20  # bytes of PyTorch and transformers, measured


class _Encoding(Stage[E]):
    """What both stages share: one encoder, set up once a worker."""

    def models(self) -> Mapping[str, str]:
        # Cleaning follows what ftfy knows of broken text, which grows with its versions.
        return {**model_digests(self.config), "ftfy": version("ftfy")}

    def unavailable(self) -> str | None:
        return unavailable(self.config)

    @property
    def resources(self) -> Resources:  # type: ignore[override]
        if self.config.backend == "hashed-ngram":
            return Resources(cpus=1.0, memory=_CLEANING_MEMORY + 4 * CACHED_WORDS * self.config.channels)
        if self.config.device == "cuda":
            return Resources(cpus=1.0, gpus=1.0, memory=_LIBRARIES_MEMORY)
        return Resources(cpus=1.0, memory=_LIBRARIES_MEMORY + weight_bytes(self.config))

    def setup(self) -> None:
        digests = model_digests(self.config)
        self._encoder = make_encoder(self.config, digests)
        self._ahead = Ahead(self._encoder)
        self._about = _about(self.config, self._encoder, digests)


def _about(config: EncoderConfig, encoder: TextEncoder, digests: Mapping[str, str]) -> dict[str, Any]:
    """The columns that say how states were made."""
    return {
        "backend": encoder.name,
        "model_digest": digests.get("encoder"),
        "precision": encoder.precision,
        "device": encoder.device,
        "layer": config.hidden.layer if config.backend == "transformers" else None,
        "limit": config.limit,
        "channels": encoder.channels,
    }


class Text(_Encoding[TextConfig]):
    """The clip's prompt, or else its caption, encoded. A clip without words is skipped unless a fallback is set."""

    name: ClassVar[str] = "text"
    version: ClassVar[int] = 1
    record: ClassVar[type[Record]] = TextRecord
    Config: ClassVar[type[StageConfig]] = TextConfig
    reads: ClassVar[frozenset[Media]] = frozenset({Media.PROMPT})
    uses: ClassVar[tuple[str, ...]] = ("caption",)

    def spares(self, clip: ClipRecord) -> frozenset[str]:
        return frozenset({"caption"}) if _words(clip.prompt) else frozenset()

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> TextRecord | Skipped:
        text, source = _words(context.clip.prompt), "prompt"
        if not text and "caption" in inputs:
            caption: Any = inputs["caption"]
            text, source = _words(caption.text), "caption"
        if not text:
            if self.config.fallback is None:
                return Skipped(_why_none(context.clip.prompt, inputs), 0.0)
            text, source = clean(self.config.fallback), "fallback"
        tokens = self._ahead.tokens(text)
        if tokens.truncated and self.config.overlong == "skip":
            return Skipped(f"the text has more than {self.config.limit} tokens", tokens.total)
        states_LC = self._ahead.states_LC(text, self._upcoming(context))
        return TextRecord(
            **self._about,
            text=text,
            source=source,
            tokens=tokens.total,
            truncated=tokens.truncated,
            states_LC=states_LC,
        )

    def _upcoming(self, context: ClipContext) -> Iterator[str]:
        """Prompts that this stage will be asked for next. Captions to come may not be written yet."""
        for clip in context.upcoming(self.name):
            if text := _words(clip.prompt):
                yield text


def _words(text: str | None) -> str:
    return clean(text) if text else ""


def _why_none(prompt: str | None, inputs: Mapping[str, Record]) -> str:
    said = "no prompt" if prompt is None else "the prompt is empty"
    return f"{said} and {'the caption is empty' if 'caption' in inputs else 'there is no caption'}"


class NegativeText(_Encoding[NegativeTextConfig]):
    """Negative prompts encoded. It reads nothing of a clip, so that all clips of a store share one artifact."""

    name: ClassVar[str] = "negative_text"
    version: ClassVar[int] = 1
    record: ClassVar[type[Record]] = NegativeTextRecord
    Config: ClassVar[type[StageConfig]] = NegativeTextConfig

    def models(self) -> Mapping[str, str]:
        published = {f"prompt {name}": text_digest(negative_prompt(name)) for name in self.config.prompts}
        return {**super().models(), **published}

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> NegativeTextRecord | Skipped:
        texts = {str(name): clean(negative_prompt(name)) for name in self.config.prompts}
        texts |= {name: clean(text) for name, text in self.config.own.items()}
        if not texts:
            return Skipped("no negative prompts are chosen", 0.0)
        tokens = [self._encoder.tokens(text) for text in texts.values()]
        states = self._encoder.encode(tokens)
        return NegativeTextRecord(
            **self._about,
            names=list(texts),
            texts=list(texts.values()),
            tokens=[found.total for found in tokens],
            truncated=[found.truncated for found in tokens],
            lengths=[len(states_LC) for states_LC in states],
            states_LC=np.concatenate(states),
        )

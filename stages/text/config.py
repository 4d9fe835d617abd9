"""What can be chosen of the stages `text` and `negative_text`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from wanprep.models.device import Device, Precision
from wanprep.models.field import model_field
from wanprep.stage import StageConfig

PUBLISHED: tuple[Literal["wan", "s2v", "empty"], ...] = ("wan", "s2v", "empty")


class HiddenConfig(BaseModel):
    """Which hidden states of a language model are taken; only for backend=transformers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer: int = Field(
        default=-1,
        description="Which hidden state: -1 is the model's output, 0 the token embeddings, n what the n-th block "
        "gives. Inner layers of language models often serve generators better than the last.",
    )
    chat: bool = Field(
        default=False,
        description="Put the text into the model's own chat template, as instruction-tuned models expect it; "
        "costs the template's tokens.",
    )
    system: str | None = Field(
        default=None,
        description="System message of the chat template; null leaves it to the template.",
    )
    skip: int = Field(
        default=0,
        ge=0,
        description="States left out at the start, for a template's fixed beginning that says nothing of the clip.",
    )


class EncoderConfig(StageConfig):
    """Which encoder, and how it is run."""

    backend: Literal["hashed-ngram", "umt5", "transformers"] = Field(
        default="hashed-ngram",
        description="umt5: the encoder of Wan2.2; transformers: the hidden states of any other text or "
        "vision-language model; hashed-ngram: counts of letter groups, needs no model and no model takes it.",
    )
    model: str = model_field("umt5-xxl", "The encoder with its tokenizer; not used by hashed-ngram.")
    device: Device = Field(
        default="auto",
        description="Where the encoder runs; auto takes a GPU when there is one, umT5-XXL wants 12 GB of it.",
        json_schema_extra={"key": False},
    )
    precision: Precision = Field(
        default="bfloat16",
        description="In which the encoder is run. Wan runs umT5 in bfloat16; float32 costs twice the memory and "
        "differs by the last bits of what is stored.",
    )
    storage: Literal["bfloat16", "float16", "float32"] = Field(
        default="bfloat16",
        description="In which states are stored; float32 takes twice the bytes. Wan casts them to bfloat16.",
    )
    limit: int = Field(
        default=512,
        ge=2,
        le=32_768,
        description="Most tokens of a text that the encoder is given; Wan takes 512. What is cut is counted.",
    )
    batch: int | None = Field(
        default=None,
        ge=1,
        description="Texts encoded together; null: 16 on a GPU, 1 on a CPU, which gains nothing from more. Halved "
        "while the GPU's memory is short.",
        json_schema_extra={"key": False},
    )
    channels: int = Field(
        default=512,
        ge=16,
        le=16_384,
        description="Width of the states of hashed-ngram. 4096 has umT5-XXL's shape, for eight times the bytes.",
    )
    hidden: HiddenConfig = Field(default=HiddenConfig(), description="For backend=transformers.")


class TextConfig(EncoderConfig):
    """How a clip's text is encoded."""

    overlong: Literal["cut", "skip"] = Field(
        default="cut",
        description="A text of more tokens than the limit: cut encodes its beginning, as Wan does, and the record "
        "counts what was left out; skip leaves the clip without an embedding and says how many tokens it has.",
    )
    fallback: str | None = Field(
        default=None,
        description="Text for clips that have neither prompt nor caption. '' encodes the empty text, as Wan does "
        "with an empty prompt; null skips such clips.",
    )


class NegativeTextConfig(EncoderConfig):
    """Which negative prompts are encoded."""

    prompts: tuple[Literal["wan", "s2v", "empty"], ...] = Field(
        default=PUBLISHED,
        description="wan: the one of Animate, T2V, I2V and TI2V; s2v: S2V's own; empty: no text, for training "
        "with dropped prompts and for pipelines that default to it.",
    )
    own: dict[str, str] = Field(
        default={},
        description="Further negative prompts, by names other than the published ones'.",
    )

    @field_validator("own")
    @classmethod
    def _other_names(cls, own: dict[str, str]) -> dict[str, str]:
        if taken := sorted(own.keys() & set(PUBLISHED)):
            raise ValueError(f"'{taken[0]}' is a published prompt's name; give yours another")
        return own

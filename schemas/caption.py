"""Artifact `caption`: what is seen in a clip, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from schemas.record import Record
from schemas.tensor import TENSOR, Tensor

#: Values of `source`: sentences put together from measured numbers, a model of ours, a server's, the user's own.
TEMPLATE, MODEL, SERVER, GIVEN = "template", "model", "server", "given"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionRecord(Record):
    """A clip's caption, where it comes from, and which frames it was made from."""

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("text", pa.string(), nullable=False),
            pa.field("source", pa.string(), nullable=False),
            pa.field("language", pa.string()),
            pa.field("model", pa.string()),
            pa.field("model_digest", pa.string()),
            pa.field("device", pa.string()),
            pa.field("precision", pa.string()),
            pa.field("template", pa.string()),
            pa.field("template_digest", pa.string()),
            pa.field("truncated", pa.bool_(), nullable=False),
            pa.field("medium", pa.string()),
            pa.field("width", pa.int32()),
            pa.field("height", pa.int32()),
            pa.field("times_T", TENSOR, nullable=False),
            pa.field("facts", pa.map_(pa.string(), pa.float64()), nullable=False),
        ]
    )

    text: str
    source: str  # TEMPLATE, MODEL, SERVER or GIVEN
    language: str | None  # asked for: en or zh; None: given, so not known
    model: str | None  # "template-v1", a model's name, or the name a server knows it by; None: given
    model_digest: str | None  # of the weights; None where there are none here
    device: str | None  # "cpu" or "cuda"; None: no model ran here
    precision: str | None  # float32, bfloat16 or float16, of the model that ran here
    template: str | None  # name or path of the prompt template that a model was asked with
    template_digest: str | None  # of its text
    truncated: bool  # the model was stopped at the most tokens it may write
    medium: str | None  # "video" or "reference": what was looked at; None: nothing, the caption was given
    width: int | None  # pixels of the pictures that were looked at
    height: int | None
    times_T: Tensor  # float64 [pictures], seconds after the clip's start; empty when it was given
    facts: dict[str, float]  # measured numbers behind a template's sentences; docs/captions.md names them

"""Artifact `image_embed`: what CLIP's image tower sees in the reference picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from schemas.record import Record
from schemas.tensor import TENSOR, Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEmbedRecord(Record):
    """The penultimate hidden state of a CLIP vision transformer, as Wan2.2-Animate takes it.

    ViT-H/14 at 224 pixels gives 257 tokens of 1280 numbers: the class token, then 16x16 patches row by row.
    """

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("encoder", pa.string(), nullable=False),
            pa.field("encoder_digest", pa.string(), nullable=False),
            pa.field("rule", pa.string(), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("hidden_layer", pa.int32(), nullable=False),
            pa.field("precision", pa.string(), nullable=False),
            pa.field("device", pa.string(), nullable=False),
            pa.field("embed_TC", TENSOR, nullable=False),
        ]
    )

    encoder: str  # the model's name or path, as the recipe gave it
    encoder_digest: str  # of its config and weight files, hex
    rule: str  # how the picture came to the encoder's square: animate, replace, stretch or centre_crop
    width: (
        int  # pixels of the picture that was brought to the square: after the letterbox, if the rule has one
    )
    height: int
    hidden_layer: int  # index into the hidden states: -2, before the last block and without the final norm
    precision: str  # in which the encoder ran: float32, bfloat16 or float16
    device: str  # where it ran: cpu or cuda
    embed_TC: Tensor  # [tokens, width of the encoder]; its dtype is that of storage

"""Attention to what a segment keeps: text, reference image and face tokens, whose keys and values do not depend on the
timestep.

The processors take the place of diffusers' own in its blocks. Given tokens they compute keys and values on the first
call, when the block's weights are surely where they are needed (offloading, LoRA layers and casting then work as
always), and keep them; given a tensor they are diffusers' processors unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.transformer_wan_animate import (
    WanAnimateFaceBlockAttnProcessor,
    WanAttnProcessor,
)

KeysValues = tuple[torch.Tensor, torch.Tensor]


@dataclass(eq=False)
class AttendedTokens:
    """Tokens that blocks attend to, and each block's keys and values of them once they are computed."""

    tokens: torch.Tensor  # [1, ..., C]
    keep: bool
    kept: dict[int, KeysValues] = field(default_factory=dict)

    def keys_values(self, block: int, compute: Callable[[torch.Tensor], KeysValues]) -> KeysValues:
        """A block's keys and values; computed when they are not kept."""
        found = self.kept.get(block)
        if found is None:
            found = compute(self.tokens)
            if self.keep:
                self.kept[block] = found
        return found


@dataclass(frozen=True, eq=False)
class PromptTokens:
    """What the blocks' cross attention attends to; `image` is None for a model without an image encoder."""

    text: AttendedTokens  # [1, 512, C]
    image: AttendedTokens | None  # [1, 257, C]


class PromptAttention(WanAttnProcessor):  # type: ignore[misc]
    """Cross attention of one block to text and reference image, each by itself, the results added."""

    def __init__(self, block: int) -> None:
        super().__init__()
        self._block = block

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | PromptTokens | None = None,
        attention_mask: torch.Tensor | None = None,
        rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        if not isinstance(encoder_hidden_states, PromptTokens):
            result: torch.Tensor = super().__call__(
                attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb
            )
            return result
        prompt = encoder_hidden_states
        heads = attn.heads
        query_BSHD = _split(attn.norm_q(attn.to_q(hidden_states)), heads)

        def text(tokens_BLC: torch.Tensor) -> KeysValues:
            keys_BLC, values_BLC = attn.norm_k(attn.to_k(tokens_BLC)), attn.to_v(tokens_BLC)
            return _split(keys_BLC, heads), _split(values_BLC, heads)

        def image(tokens_BLC: torch.Tensor) -> KeysValues:
            keys_BLC, values_BLC = attn.norm_added_k(attn.add_k_proj(tokens_BLC)), attn.add_v_proj(tokens_BLC)
            return _split(keys_BLC, heads), _split(values_BLC, heads)

        found = self._attend(query_BSHD, prompt.text.keys_values(self._block, text))
        if prompt.image is not None:
            found = found + self._attend(query_BSHD, prompt.image.keys_values(self._block, image))
        projection, dropout = attn.to_out
        result = dropout(projection(found))
        return result

    def _attend(self, query_BSHD: torch.Tensor, keys_values: KeysValues) -> torch.Tensor:
        found: torch.Tensor = dispatch_attention_fn(query_BSHD, *keys_values, backend=self._attention_backend)
        return found.flatten(2, 3).type_as(query_BSHD)


class FaceAttention(WanAnimateFaceBlockAttnProcessor):  # type: ignore[misc]
    """Attention of one face adapter: the video tokens of a latent frame to that frame's face tokens."""

    def __init__(self, adapter: int) -> None:
        super().__init__()
        self._adapter = adapter

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | AttendedTokens | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        if not isinstance(encoder_hidden_states, AttendedTokens):
            result: torch.Tensor = super().__call__(
                attn, hidden_states, encoder_hidden_states, attention_mask
            )
            return result
        frames, heads = encoder_hidden_states.tokens.shape[1], attn.heads

        def by_frame(tokens_BLC: torch.Tensor) -> torch.Tensor:
            batch, length, width = tokens_BLC.shape
            return tokens_BLC.view(batch * frames, length // frames, heads, width // heads)

        def face(tokens_BTNC: torch.Tensor) -> KeysValues:
            # Three axes into the projections: quantised ones take no more.
            tokens_BLC = attn.pre_norm_kv(tokens_BTNC).flatten(1, 2)
            return attn.norm_k(by_frame(attn.to_k(tokens_BLC))), by_frame(attn.to_v(tokens_BLC))

        query_FSHD = attn.norm_q(by_frame(attn.to_q(attn.pre_norm_q(hidden_states))))
        found: torch.Tensor = dispatch_attention_fn(
            query_FSHD,
            *encoder_hidden_states.keys_values(self._adapter, face),
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        result = attn.to_out(found.type_as(query_FSHD).reshape(hidden_states.shape))
        return result


def _split(tokens_BLC: torch.Tensor, heads: int) -> torch.Tensor:
    batch, length, width = tokens_BLC.shape
    return tokens_BLC.view(batch, length, heads, width // heads)

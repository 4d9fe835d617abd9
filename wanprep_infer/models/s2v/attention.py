"""Attention of the Wan transformers: query and key normalised over all heads together, then split into heads."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar, TypeAlias

import torch
from diffusers.models.attention import AttentionModuleMixin
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import nn

from wanprep_infer.models.s2v.kept import Kept
from wanprep_infer.models.s2v.positions import rotate

Rotary: TypeAlias = tuple[torch.Tensor, torch.Tensor]  # cosines and sines [1,L,1,head_dim/2]

_ALL = slice(None)


class AttentionProcessor:
    """Runs attention on the backend that diffusers is set to; the two attributes are those that diffusers sets."""

    _attention_backend: Any = None
    _parallel_config: Any = None

    def __call__(
        self,
        query_BLHD: torch.Tensor,
        key_BSHD: torch.Tensor,
        value_BSHD: torch.Tensor,
        *,
        across_ranks: bool,
    ) -> torch.Tensor:
        """[B,L,heads,head_dim]. `across_ranks`: keys are split over the ranks of context parallelism as queries are."""
        attended_BLHD: torch.Tensor = dispatch_attention_fn(
            query_BLHD,
            key_BSHD,
            value_BSHD,
            backend=self._attention_backend,
            parallel_config=self._parallel_config if across_ranks else None,
        )
        return attended_BLHD


class Attention(nn.Module, AttentionModuleMixin):  # type: ignore[misc]
    """Attention without a mask; names as in diffusers' Wan models, so that their LoRAs fit."""

    _default_processor_cls = AttentionProcessor
    _available_processors: ClassVar = [AttentionProcessor]
    _supports_qkv_fusion = False

    def __init__(self, dim: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, dim)
        self.to_k = nn.Linear(dim, dim)
        self.to_v = nn.Linear(dim, dim)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.norm_q = nn.RMSNorm(dim, eps=eps)
        self.norm_k = nn.RMSNorm(dim, eps=eps)
        self.processor = AttentionProcessor()

    def forward(self, states_BLD: torch.Tensor, rotary: Rotary) -> torch.Tensor:
        """[B,L,D]: the states attend to each other."""
        key_BLHD, value_BLHD = self._keys_values(states_BLD)
        query_BLHD = rotate(self._query(states_BLD), *rotary)
        return self._attend(query_BLHD, rotate(key_BLHD, *rotary), value_BLHD, across_ranks=True)

    def _query(self, states_BLD: torch.Tensor) -> torch.Tensor:
        return self._heads(self.norm_q(self.to_q(states_BLD)))

    def _keys_values(self, source_BSD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self._heads(self.norm_k(self.to_k(source_BSD))), self._heads(self.to_v(source_BSD))

    def _attend(
        self, query_BLHD: torch.Tensor, key_BSHD: torch.Tensor, value_BSHD: torch.Tensor, across_ranks: bool
    ) -> torch.Tensor:
        attended_BLHD = self.processor(query_BLHD, key_BSHD, value_BSHD, across_ranks=across_ranks)
        output_BLD: torch.Tensor = self.to_out[0](attended_BLHD.flatten(2))
        return output_BLD

    def _heads(self, states_BLD: torch.Tensor) -> torch.Tensor:
        return states_BLD.reshape(*states_BLD.shape[:-1], self.heads, -1)


class CrossAttention(Attention):
    """Attention to a source that is the same at every step, whose keys and values are kept."""

    def forward(  # type: ignore[override]
        self,
        states_BLD: torch.Tensor,
        source_BSD: torch.Tensor,
        kept: Kept,
        key: Hashable,
        rows: slice = _ALL,
    ) -> torch.Tensor:
        """[B,L,D]. Keys and values of the whole source are kept under `key`; `rows` of it are attended to."""
        key_BSHD, value_BSHD = kept.get(key, lambda: self._keys_values(source_BSD))
        return self._attend(self._query(states_BLD), key_BSHD[rows], value_BSHD[rows], across_ranks=False)

"""A transformer block: self-attention, attention to the text, feed-forward; the timestep shifts, scales and gates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers.models.attention import FeedForward
from diffusers.models.normalization import FP32LayerNorm
from torch import nn

from wanprep_infer.models.s2v.attention import Attention, CrossAttention, Rotary
from wanprep_infer.models.s2v.kept import Kept


class S2VTransformerBlock(nn.Module):
    """The residual is float32; linears and attention run in `dtype`.

    Tokens are of two kinds with a modulation each: video tokens, which come first and have the step's, and reference
    and history tokens, which are clean and have that of timestep 0.
    """

    def __init__(self, dim: int, ffn_dim: int, heads: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.attn1 = Attention(dim, heads, eps)
        self.attn2 = CrossAttention(dim, heads, eps)
        self.norm2 = FP32LayerNorm(dim, eps, elementwise_affine=True)
        self.ffn = FeedForward(dim, inner_dim=ffn_dim, activation_fn="gelu-approximate")
        self.scale_shift_table = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)

    def forward(
        self,
        hidden_states: torch.Tensor,
        modulation_K6D: torch.Tensor,
        rotary: Rotary,
        context_1SD: torch.Tensor,
        kept: Kept,
        number: int,
        video: int,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """float32 [1,L,D].

        Args:
            hidden_states: float32 [1,L,D].
            modulation_K6D: float32, of the two kinds of tokens.
            rotary: of these tokens.
            context_1SD: the embedded text.
            kept: keys and values of the text, under this block's `number`.
            video: how many tokens are video.
        """
        table_K6D = self.scale_shift_table.float() + modulation_K6D
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = table_K6D.unbind(1)
        # What is given a name lives until the end: 0.65 GB each at 1024x704, beside the feed-forward layer's 3.5.
        hidden_states = _gated(
            hidden_states,
            self.attn1(self._modulated(hidden_states, shift_1, scale_1, video, dtype), rotary),
            gate_1,
            video,
        )
        hidden_states = hidden_states + self.attn2(
            self.norm2(hidden_states).to(dtype), context_1SD, kept, number
        )
        return _gated(
            hidden_states,
            self.ffn(self._modulated(hidden_states, shift_2, scale_2, video, dtype)),
            gate_2,
            video,
        )

    def _modulated(
        self,
        states_1LD: torch.Tensor,
        shift_KD: torch.Tensor,
        scale_KD: torch.Tensor,
        video: int,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        normed_1LD = F.layer_norm(states_1LD, states_1LD.shape[-1:], eps=self.eps)
        kinds = zip(normed_1LD.tensor_split([video], 1), shift_KD, scale_KD, strict=True)
        return torch.cat([(part * (1 + scale) + shift).to(dtype) for part, shift, scale in kinds], 1)


def _gated(
    states_1LD: torch.Tensor, change_1LD: torch.Tensor, gate_KD: torch.Tensor, video: int
) -> torch.Tensor:
    kinds = zip(
        states_1LD.tensor_split([video], 1), change_1LD.tensor_split([video], 1), gate_KD, strict=True
    )
    return torch.cat([part + change * gate for part, change, gate in kinds], 1)

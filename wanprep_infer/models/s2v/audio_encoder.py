"""The causal audio encoder: hidden states of a sound encoder at video rate become tokens a latent frame.

Seeing 4 latent frames' worth of sound steps, latent frame k of a clip depends on the steps 4k-5 to 4k+3; before the
clip its first step stands (Wan2.2 official code).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

STRIDE = 4  # sound steps (video frames) a latent frame
_KERNEL = 3


class CausalConvolution(nn.Module):
    """A convolution over time that looks back only; before the first step, that step stands."""

    def __init__(self, channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, out_channels, _KERNEL, stride=stride)

    def forward(self, states_BTC: torch.Tensor) -> torch.Tensor:
        padded_BCT = F.pad(states_BTC.transpose(1, 2), (_KERNEL - 1, 0), mode="replicate")
        result_BTC: torch.Tensor = self.conv(padded_BCT).transpose(1, 2)
        return result_BTC


class AudioTokenizer(nn.Module):
    """Three convolutions to a quarter of the steps: `tokens` local tokens and, with `has_global`, one global."""

    def __init__(self, audio_dim: int, dim: int, tokens: int, has_global: bool) -> None:
        super().__init__()
        self.tokens = tokens
        self.conv1_local = CausalConvolution(audio_dim, dim // 4 * tokens)
        self.conv1_global = CausalConvolution(audio_dim, dim // 4) if has_global else None
        self.conv2 = CausalConvolution(dim // 4, dim // 2, stride=2)
        self.conv3 = CausalConvolution(dim // 2, dim, stride=2)
        self.final_linear = nn.Linear(dim, dim) if has_global else None
        self.padding_tokens = nn.Parameter(torch.zeros(1, 1, 1, dim))

    def forward(self, states_TC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Local tokens [F, tokens + 1, D], the learned padding token last, and the global one [F,D] of T = 4F - 3
        steps."""
        states_1TC = states_TC[None]
        # Channels of a token lie together; each token goes through the same layers.
        grouped_KTC = self.conv1_local(states_1TC)[0].unflatten(-1, (self.tokens, -1)).transpose(0, 1)
        tokens_FKD = self._reduce(grouped_KTC).transpose(0, 1)
        padding_FKD = self.padding_tokens[0].expand(len(tokens_FKD), -1, -1)
        local_FKD = torch.cat([tokens_FKD, padding_FKD], 1)
        if self.conv1_global is None or self.final_linear is None:
            return local_FKD, None
        return local_FKD, self.final_linear(self._reduce(self.conv1_global(states_1TC)))[0]

    def _reduce(self, states_BTC: torch.Tensor) -> torch.Tensor:
        return _activate(self.conv3(_activate(self.conv2(_activate(states_BTC)))))


def _activate(states_BTC: torch.Tensor) -> torch.Tensor:
    return F.silu(F.layer_norm(states_BTC, states_BTC.shape[-1:], eps=1e-6))


class CausalAudioEncoder(nn.Module):
    """Mixes the sound encoder's layers and makes tokens of the mix; float32, whatever the other parts run in."""

    def __init__(self, layers: int, audio_dim: int, dim: int, tokens: int, has_global: bool) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.full((1, layers, 1, 1), 0.01))
        self.encoder = AudioTokenizer(audio_dim, dim, tokens, has_global)

    def forward(self, audio_LCT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Tokens of a clip's T = 4F sound steps.

        Args:
            audio_LCT: [layers, channels, T] hidden states, one step a video frame.

        Returns:
            local [F, tokens + 1, D] and global [F,D] (None without), in the weights' dtype.
        """
        weights_L = F.silu(self.weights.flatten())
        mixed_CT = torch.einsum("lct,l->ct", audio_LCT.to(weights_L.dtype), weights_L / weights_L.sum())
        # One repeated step makes a latent frame of its own, dropped again. The official code repeats as many as the
        # history has frames, 73, with the same result: all that comes before the clip equals its first step.
        mixed_TC = torch.cat([mixed_CT[:, :1], mixed_CT], 1).T
        local_FKD, global_FD = self.encoder(mixed_TC)
        return local_FKD[1:], None if global_FD is None else global_FD[1:]

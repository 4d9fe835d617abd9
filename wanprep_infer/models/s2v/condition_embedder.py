"""Embeds the conditions: timestep, text, pose and sound."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from wanprep_infer.models.s2v.audio_encoder import CausalAudioEncoder

_PERIOD = 10_000.0


def sinusoid(timestep: torch.Tensor, dim: int) -> torch.Tensor:
    """float64 [dim]: cosines, then sines, of the timestep at dim/2 frequencies (Wan2.2 official code)."""
    half = dim // 2
    steps = torch.arange(half, dtype=torch.float64, device=timestep.device)
    angles = timestep.double() * _PERIOD ** (-steps / half)
    return torch.cat([angles.cos(), angles.sin()])


class TwoLinears(nn.Module):
    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(in_dim, dim)
        self.linear_2 = nn.Linear(dim, dim)


class TimeEmbedder(TwoLinears):
    def forward(self, timestep: torch.Tensor) -> torch.Tensor:
        """[D] of a timestep 0 to 1000, in the weights' dtype."""
        weights = self.linear_1.weight
        waves = sinusoid(timestep, self.linear_1.in_features).to(weights.dtype)
        embedded_D: torch.Tensor = self.linear_2(F.silu(self.linear_1(waves)))
        return embedded_D


class TextEmbedder(TwoLinears):
    def forward(self, context_1LC: torch.Tensor) -> torch.Tensor:
        embedded_1LD: torch.Tensor = self.linear_2(F.gelu(self.linear_1(context_1LC), approximate="tanh"))
        return embedded_1LD


class ConditionEmbedder(nn.Module):
    """All of them in one module, under the names that diffusers' Wan models use."""

    def __init__(
        self,
        dim: int,
        *,
        freq_dim: int,
        text_dim: int,
        pose_dim: int,
        patch_size: tuple[int, int, int],
        audio_encoder: CausalAudioEncoder,
    ) -> None:
        super().__init__()
        self.time_embedder = TimeEmbedder(freq_dim, dim)
        self.time_proj = nn.Linear(dim, 6 * dim)
        self.text_embedder = TextEmbedder(text_dim, dim)
        self.causal_audio_encoder = audio_encoder
        self.pose_embedder = nn.Conv3d(pose_dim, dim, patch_size, patch_size) if pose_dim else None

    def forward(self, timestep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """float32: the embedded timestep [D] and the blocks' shift, scale and gate [6,D]."""
        embedded_D = self.time_embedder(timestep)
        projected = self.time_proj(F.silu(embedded_D).to(self.time_proj.weight.dtype))
        return embedded_D.float(), projected.float().unflatten(0, (6, -1))

"""Brings sound into the video tokens: after some blocks, the patches of a latent frame attend to its audio tokens."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import torch
import torch.nn.functional as F
from torch import nn

from wanprep_infer.models.s2v.attention import CrossAttention
from wanprep_infer.models.s2v.kept import Kept
from wanprep_infer.models.s2v.tokens import Span

_ADAIN_EPS = 1e-5  # Wan2.2 official code; without AdaIN it is the model's own


def injected(inject_layers: Iterable[int], blocks: int) -> dict[int, int]:
    """Block index -> number of its injector, which are numbered in the order of the blocks.

    The official code looks for the index within the module's name, so that 1 would mean 1, 10, 11 and so on, too; the
    published layers 0, 4, 8, ... 39 are the same either way.

    Raises:
        ValueError: a layer is listed twice or there is no such block.
    """
    layers = sorted(inject_layers)
    if len(set(layers)) != len(layers):
        raise ValueError(f"audio_inject_layers {layers}: a block is listed twice")
    if layers and not 0 <= layers[0] <= layers[-1] < blocks:
        raise ValueError(f"audio_inject_layers {layers}: the model has the blocks 0 to {blocks - 1}")
    return {block: number for number, block in enumerate(layers)}


class FrameModulation(nn.Module):
    """Shift and scale of a latent frame's patches from its global audio token."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, 2 * dim)

    def forward(
        self, global_FD: torch.Tensor, kept: Kept, key: Hashable, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """float32 [F,1,D] each, kept under `key`; the linear runs in `dtype`.

        It is called at every step, kept or not: offload that loads the next layer ahead expects the same layers.
        """

        def make() -> tuple[torch.Tensor, torch.Tensor]:
            shift_F1D, scale_F1D = self.linear(F.silu(global_FD).to(dtype))[:, None].float().chunk(2, -1)
            return shift_F1D, scale_F1D

        return kept.get(key, make)


class AudioInjector(nn.Module):
    """The cross-attentions of all blocks that take in sound."""

    def __init__(self, count: int, dim: int, heads: int, eps: float, adain: bool) -> None:
        super().__init__()
        self.injector = nn.ModuleList(CrossAttention(dim, heads, eps) for _ in range(count))
        self.injector_adain_layers = nn.ModuleList(FrameModulation(dim) for _ in range(count if adain else 0))
        self.eps = _ADAIN_EPS if adain else eps

    def forward(
        self,
        states_1LD: torch.Tensor,
        number: int,
        local_FKD: torch.Tensor,
        global_FD: torch.Tensor | None,
        kept: Kept,
        span: Span,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """The states with what the video tokens among them take from the sound of their frames added.

        Args:
            states_1LD: float32 residual; `span` says which tokens of the sequence these are.
            number: of the injector.
            local_FKD: audio tokens a latent frame.
            global_FD: one a latent frame, with AdaIN.
            kept: holds keys, values, shift and scale.
            dtype: in which linears and attention run.
        """
        if span.video == 0:
            return states_1LD
        frames, lead, tail = span.frames()
        video_1LD, still_1LD = states_1LD.tensor_split([span.video], 1)
        # Frames of which a part is on another rank are filled up; what the filling takes is cut off again.
        whole_1LD = F.pad(video_1LD, (0, 0, lead, tail)) if lead or tail else video_1LD
        normed_FPD = F.layer_norm(
            whole_1LD.reshape(-1, span.per_frame, whole_1LD.shape[2]), whole_1LD.shape[2:], eps=self.eps
        )
        if global_FD is not None:
            modulation = self.injector_adain_layers[number]
            shift_F1D, scale_F1D = modulation(global_FD, kept, ("shift, scale", number), dtype)
            normed_FPD = normed_FPD * (1 + scale_F1D[frames]) + shift_F1D[frames]
        taken_FPD = self.injector[number](
            normed_FPD.to(dtype), local_FKD.to(dtype), kept, ("keys, values", number), frames
        )
        taken_LD = taken_FPD.flatten(0, 1)[lead : lead + span.video]
        return torch.cat([video_1LD + taken_LD, still_1LD], 1)

"""Diffusers' Animate transformer, which also takes a segment's tokens in place of what they were computed from.

Everything runs inside the model's own call, and each sub-module through its own, so that offloading, layerwise casting
and LoRA layers see what they always see.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from diffusers import WanAnimateTransformer3DModel

from wanprep_infer.models.adapter_state import AdapterState
from wanprep_infer.models.animate_attention import (
    AttendedTokens,
    FaceAttention,
    PromptAttention,
    PromptTokens,
)

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class SegmentTokens:
    """What the steps of one segment and guidance branch share. Belongs to one model and the adapters it then had.

    `pose` is embedded, [1, C, lt, h/2, w/2], when keys and values are kept too; otherwise the latents
    [1, 16, lt, h, w], a fraction of its size.
    """

    model: torch.nn.Module
    adapters: AdapterState
    prompt: PromptTokens
    face: AttendedTokens  # [1, lt+1, heads+1, C]; zeros for the reference's frame
    pose: torch.Tensor
    pose_embedded: bool
    rope: Any
    grid: tuple[int, int, int]  # latent frames (lt+1), rows and columns that it is for

    @property
    def nbytes(self) -> int:
        """Bytes held, of what is kept so far; what another branch shares is counted in both."""
        tensors = [self.prompt.text.tokens, self.face.tokens, self.pose, *self.rope]
        groups = [self.prompt.text, self.face]
        if self.prompt.image is not None:
            tensors.append(self.prompt.image.tokens)
            groups.append(self.prompt.image)
        tensors += [each for group in groups for pair in group.kept.values() for each in pair]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class AnimateModel(WanAnimateTransformer3DModel):  # type: ignore[misc]
    """Loads and runs as diffusers' class; `run` does work inside its call, `denoise` is such work."""

    motion_encoder: torch.nn.Module

    def forward(self, *args: Any, work: Callable[[], Any] | None = None, **kwargs: Any) -> Any:
        return work() if work is not None else super().forward(*args, **kwargs)

    def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, called as the model is: what hooks on it provide is there meanwhile."""
        result: T = self(work=work)
        return result

    def keep_tokens(self) -> None:
        """Has the attention to text, image and face take a segment's tokens (`animate_attention`)."""
        for number, block in enumerate(self.blocks):
            block.attn2.set_processor(PromptAttention(number))
        for number, adapter in enumerate(self.face_adapter):
            adapter.set_processor(FaceAttention(number))

    def embed(
        self, context_BLC: torch.Tensor, image_BLC: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Text [1, 512, C] and image tokens [1, 257, C] as the blocks take them."""
        timestep_B = torch.zeros(1, dtype=torch.long, device=context_BLC.device)
        _, _, text_BLC, image_BLC = self.condition_embedder(timestep_B, context_BLC, image_BLC)
        return text_BLC, image_BLC

    def denoise(self, latents_BCTHW: torch.Tensor, timestep: int, tokens: SegmentTokens) -> torch.Tensor:
        """The velocity [1, 16, lt+1, h, w] of noise, mask and condition latents [1, 36, lt+1, h, w]."""
        rows = self._rows(latents_BCTHW, tokens)
        time, modulation = self._time(timestep, latents_BCTHW)
        for number, block in enumerate(self.blocks):
            rows = block(rows, tokens.prompt, modulation, tokens.rope)
            adapter, rest = divmod(number, self.config.inject_face_latents_blocks)
            if not rest:
                rows = self.face_adapter[adapter](rows, tokens.face).to(rows.device) + rows
        return self._unpatched(self._out(rows, time), tokens.grid)

    def _rows(self, latents_BCTHW: torch.Tensor, tokens: SegmentTokens) -> torch.Tensor:
        """Video tokens [1, L, C]. By itself, so that the patches (0.8 GB at 1280x720) are gone when the blocks run."""
        hidden = self.patch_embedding(latents_BCTHW)
        pose = tokens.pose if tokens.pose_embedded else self.pose_patch_embedding(tokens.pose)
        hidden[:, :, 1:] += pose  # the reference's frame has none
        rows: torch.Tensor = hidden.flatten(2).transpose(1, 2).contiguous()
        return rows

    def _time(self, timestep: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The timestep's embedding [1, C], and each block's shift, scale and gate [1, 6, C]."""
        timestep_B = torch.tensor([timestep], dtype=torch.long, device=like.device)
        # The embedder takes a text as well; the shortest one costs nothing.
        empty_BLC = like.new_zeros(1, 1, self.config.text_dim)
        time, modulation, _, _ = self.condition_embedder(timestep_B, empty_BLC)
        return time, modulation.unflatten(1, (6, -1))

    def _out(self, rows: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        table = self.scale_shift_table.to(time.device) + time[:, None]
        shift, scale = (each.to(rows.device) for each in table.chunk(2, 1))
        normed = self.norm_out(rows.float()) * (1 + scale) + shift
        result: torch.Tensor = self.proj_out(normed.to(rows.dtype))
        return result

    def _unpatched(self, rows: torch.Tensor, grid: tuple[int, int, int]) -> torch.Tensor:
        patch = self.config.patch_size
        counts = [side // step for side, step in zip(grid, patch, strict=True)]
        # [1, t h w, pt ph pw C] to [1, C, t pt, h ph, w pw]
        split = rows.reshape(1, *counts, *patch, rows.shape[-1] // math.prod(patch))
        return split.permute(0, 7, 1, 4, 2, 5, 3, 6).reshape(1, -1, *grid)

    @contextmanager
    def given_motion(self) -> Iterator[None]:
        """Has diffusers' own forward pass take motion vectors [1, C, T, 1, 1] as `face_pixel_values` meanwhile."""
        encoder = self.motion_encoder
        self.motion_encoder = torch.nn.Flatten()
        try:
            yield
        finally:
            self.motion_encoder = encoder

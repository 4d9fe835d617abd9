"""History as few tokens: the older, the coarser (FramePack, arXiv 2504.12626, as in the Wan2.2 official code).

Of 19 latent frames the newest keeps a token a patch; the two before it share tokens of two frames and 4x4 latents, the
oldest sixteen tokens of four frames and 8x8 latents.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import nn

from wanprep_infer.models.s2v.positions import Grid, coarse_grid, full_grid, packed_times

DropMode: TypeAlias = Literal["padd", "drop"]

FRAMES = (1, 2, 16)  # latent frames a resolution, newest first
HISTORY = sum(FRAMES)
SIDE = 8  # latents a coarsest token covers, in rows and in columns


class FramePacker(nn.Module):
    """Three patch embeddings.

    `add_last_motion` says how much of the newest history counts: 2 all, 1 not the newest frame, 0 neither the two
    before it. What does not count is zeroed (drop mode "padd") or has no tokens ("drop").
    """

    def __init__(self, channels: int, dim: int, drop_mode: DropMode) -> None:
        super().__init__()
        self.drop_mode = drop_mode
        self.proj = nn.Conv3d(channels, dim, (1, 2, 2), (1, 2, 2))
        self.proj_2x = nn.Conv3d(channels, dim, (2, 4, 4), (2, 4, 4))
        self.proj_4x = nn.Conv3d(channels, dim, (4, 8, 8), (4, 8, 8))

    def forward(self, motion_latents_CTHW: torch.Tensor, add_last_motion: int = 2) -> torch.Tensor:
        """[1,L,D] tokens, newest first. Missing history is zero, of more than 19 frames the newest count."""
        newest = motion_latents_CTHW[:, -HISTORY:]
        history = F.pad(newest, (0, 0, 0, 0, HISTORY - newest.shape[1], 0))
        if self.drop_mode == "padd" and (zeroed := sum(FRAMES[: 2 - add_last_motion])):
            history = F.pad(history[:, :-zeroed], (0, 0, 0, 0, 0, zeroed))
        far, middle, near = torch.split(history[None], list(FRAMES[::-1]), 2)
        embedded = [self.proj(near), self.proj_2x(middle), self.proj_4x(far)]
        return torch.cat(
            [part.flatten(2).transpose(1, 2) for part in embedded[self._first(add_last_motion) :]], 1
        )

    def grids(self, height: int, width: int, add_last_motion: int = 2) -> tuple[Grid, ...]:
        """Where the tokens stand; height and width in patches."""
        near, middle, _ = FRAMES
        all_grids = (
            full_grid((-near,), height, width),
            coarse_grid((-near - middle,), height, width, 2),
            coarse_grid(packed_times(near + middle + 1, HISTORY, 4), height, width, 4),
        )
        return all_grids[self._first(add_last_motion) :]

    def _first(self, add_last_motion: int) -> int:
        """The finest of the three resolutions that has tokens."""
        return 2 - add_last_motion if self.drop_mode == "drop" else 0

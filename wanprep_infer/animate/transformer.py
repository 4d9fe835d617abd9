"""What the loop asks of a transformer; `wanprep_infer.models.animate_transformer` is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Transformer(Protocol):
    """Predicts the velocity of a segment's latents. What no timestep touches is prepared once a segment."""

    @property
    def face_size(self) -> int:
        """Pixels a side of the faces that its motion encoder takes."""

    @property
    def text_channels(self) -> int: ...

    @property
    def image_channels(self) -> int: ...

    @property
    def latent_channels(self) -> int: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...

    def motion_vectors(self, face_pixels_CTHW: Tensor) -> Tensor:
        """[T, C] of faces [3,T,S,S] in -1 to 1, each frame by itself."""

    def prepare(
        self,
        *,
        context_LC: Tensor,
        image_embed_TC: Tensor,
        pose_latents_CTHW: Tensor,
        motion_TC: Tensor,
        keep_keys_values: bool = True,
    ) -> Any:
        """What a segment's steps share, for the half of guidance with prompt and face."""

    def other_branch(self, tokens: Any, *, context_LC: Tensor, motion_TC: Tensor) -> Any:
        """The same segment for guidance's other half."""

    def velocity(self, latents_CTHW: Tensor, y_CTHW: Tensor, timestep: int, tokens: Any) -> Tensor:
        """[16, l+1, h, w] for latents of that shape and their condition [20, l+1, h, w]."""

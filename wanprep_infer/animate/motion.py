"""Motion vectors of a segment's faces: from the store where the model's own encoder made them, else from pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from wanprep.animate.face_pixels import PixelRounding, face_pixels_CTHW, no_face_pixels
from wanprep.animate.face_size import SizedCrops
from wanprep_infer.conditioning.animate import AnimateConditioning

if TYPE_CHECKING:
    from torch import Tensor

_AT_ONCE = 8  # faces encoded at a time, as diffusers does by default


class MotionEncoder(Protocol):
    """What is needed of a transformer here."""

    @property
    def face_size(self) -> int: ...

    def motion_vectors(self, face_pixels_CTHW: Tensor) -> Tensor: ...


class Motion:
    """Motion vectors by frame. A face has the same vector in whatever segment it appears."""

    def __init__(self, encoder: MotionEncoder, digest: str | None) -> None:
        """
        Args:
            digest: of the model's motion encoder, which stored vectors must carry; None: none are taken.
        """
        self._encoder = encoder
        self._digest = digest
        self._no_face: Tensor | None = None

    def is_stored(self, conditioning: AnimateConditioning, rounding: PixelRounding) -> bool:
        """Whether the store's vectors are of this model's motion encoder, and of pixels rounded so; computed in
        bfloat16, they are the same however pixels were rounded."""
        stored = conditioning.face_motion
        if stored is None or self._digest is None or stored.encoder_digest != self._digest:
            return False
        return rounding == stored.pixel_rounding or stored.precision == "bfloat16"

    def vectors_TC(self, conditioning: AnimateConditioning, segment: int, rounding: PixelRounding) -> Tensor:
        """One vector for each of the segment's L frames, [L, C].

        Raises:
            ValueError: there are neither vectors of this encoder nor crops.
        """
        shown_T = conditioning.shown_T(segment)
        if conditioning.face_motion is not None and self.is_stored(conditioning, rounding):
            stored_TC = np.asarray(conditioning.face_motion.motion_TC[shown_T], np.float32)
            return torch.from_numpy(stored_TC)
        if conditioning.face_crops is None:
            raise ValueError("the clip has neither face crops nor motion vectors of this encoder")
        crops = SizedCrops(conditioning.face_crops, self._encoder.face_size)
        first, last = int(shown_T.min()), int(shown_T.max()) + 1
        parts: list[Tensor] = []
        for start in range(first, last, _AT_ONCE):
            crops_THWC = crops.crops_THWC(start, min(start + _AT_ONCE, last))
            pixels_CTHW = torch.from_numpy(face_pixels_CTHW(crops_THWC, rounding))
            parts.append(self._encoder.motion_vectors(pixels_CTHW))
        vectors_TC = torch.cat(parts)
        return vectors_TC[torch.from_numpy(shown_T - first).to(vectors_TC.device)]

    def no_face_TC(self, frames: int) -> Tensor:
        """The vectors of the unconditional half of guidance, whose face is black: [frames, C], encoded once."""
        if self._no_face is None:
            pixels_CTHW = torch.from_numpy(no_face_pixels(1, self._encoder.face_size))
            self._no_face = self._encoder.motion_vectors(pixels_CTHW)
        return self._no_face.expand(frames, -1)

"""Codes a view of a clip, segment by segment, into a record; memory does not grow with the clip.

What any latent stage needs: the stages here feed it frames of the video and the reference, others may feed it drawn
skeletons or backgrounds.
"""

from __future__ import annotations

import numpy as np

from schemas import LatentsRecord
from schemas.tensor import BFLOAT16
from stages.latents.coder import Coder, Frames
from stages.latents.config import EncoderConfig
from stages.latents.layout import Layout
from wanprep.media.geometry import Size
from wanprep.models.vae import STRIDE_TIME
from wanprep.stage import ClipContext


class LatentWriter:
    """Takes a clip's pictures in order, at the size they are coded at, and makes the record of them."""

    def __init__(
        self, coder: Coder, config: EncoderConfig, layout: Layout, size: Size, context: ClipContext
    ) -> None:
        self._coder = coder
        self._config = config
        self._layout = layout
        self._width, self._height = size
        rows, columns = self._height // coder.stride, self._width // coder.stride
        self._latents = context.spool(_stored(config, coder), len(coder.mean_C), rows, columns)
        self._encoder = coder.encoder(self._width, self._height, layout.segment_frames)
        self._seen = 0  # frames of the clip
        self._segment = 0
        self._in_segment = 0
        # Pictures that begin the next segment too, the last one at least.
        self._tail_THWC: Frames = np.empty((0, self._height, self._width, 3), np.uint8)

    def add(self, frames_THWC: Frames) -> None:
        """Takes the next pictures; those that the layout leaves out are ignored."""
        frames_THWC = frames_THWC[: max(0, self._layout.used - self._seen)]
        self._seen += len(frames_THWC)
        self._feed(frames_THWC)

    def _feed(self, frames_THWC: Frames) -> None:
        while len(frames_THWC):
            taken = min(len(frames_THWC), self._layout.segment_frames - self._in_segment)
            part_THWC, frames_THWC = frames_THWC[:taken], frames_THWC[taken:]
            self._latents.append(self._encoder.add(part_THWC))
            self._in_segment += taken
            keep = max(1, self._layout.overlap)
            # A copy: a slice would keep the whole window's pictures alive.
            self._tail_THWC = np.concatenate([self._tail_THWC, part_THWC[-keep:]])[-keep:].copy()
            if self._in_segment == self._layout.segment_frames:
                self._next_segment()

    def _next_segment(self) -> None:
        self._latents.append(self._encoder.finish())
        self._segment += 1
        self._in_segment = 0
        if self._segment == len(self._layout.starts):
            return
        self._encoder = self._coder.encoder(self._width, self._height, self._layout.segment_frames)
        if self._layout.overlap:
            self._latents.append(self._encoder.add(self._tail_THWC))
            self._in_segment = self._layout.overlap

    def finish(self, *, view: str, fit: str) -> LatentsRecord:
        """The record. `view` and `fit` are told in it.

        Raises:
            ValueError: not all pictures came.
        """
        for _ in range(self._layout.repeated):
            self._feed(self._tail_THWC[-1:].copy())
        if self._segment != len(self._layout.starts):
            raise ValueError(f"{self._seen} of {self._layout.used} pictures came")
        coder, layout = self._coder, self._layout
        return LatentsRecord(
            view=view,
            backend=coder.backend,
            vae=coder.vae,
            vae_digest=coder.digest,
            vae_weights=coder.weights,
            precision=coder.precision,
            device=coder.device,
            pixel_rounding=self._config.pixel_rounding if coder.digest else "float32",
            tile=self._encoder.tile,
            frames=layout.used,
            frames_repeated=layout.repeated,
            frames_left_out=layout.left_out,
            segment_frames=layout.segment_frames,
            segment_starts=list(layout.starts),
            width=self._width,
            height=self._height,
            fit=fit,
            stride_time=STRIDE_TIME,
            stride_space=coder.stride,
            latents_TCHW=self._latents.tensor(),
            latent_mean_C=coder.mean_C,
            latent_std_C=coder.std_C,
        )


def _stored(config: EncoderConfig, coder: Coder) -> np.dtype[np.generic]:
    """A VAE's latents keep its precision; the codec's lose 0.00 dB in float16 (measured)."""
    name = config.storage or (coder.precision if coder.backend == "vae" else "float16")
    return BFLOAT16 if name == "bfloat16" else np.dtype(name)

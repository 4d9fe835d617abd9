"""Segments as Wan2.2-Animate's official generator cuts a clip: overlapping, the last one filled up backwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from schemas import LatentsRecord
from stages.latents.coder import Coder
from stages.latents.config import EncoderConfig
from stages.latents.layout import Layout
from stages.latents.writer import LatentWriter
from wanprep.animate.segments import SEGMENT_FRAMES, segments
from wanprep.media.geometry import Size
from wanprep.stage import ClipContext


class SegmentsConfig(EncoderConfig):
    """Which autoencoder codes the segments, and how long they are."""

    segment_frames: int = Field(
        default=SEGMENT_FRAMES,
        ge=9,
        le=1025,
        description="Frames of a segment, 4n+1; Wan2.2-Animate is trained on 77.",
    )
    segment_overlap: Literal[1, 5] = Field(
        default=1, description="Frames that a segment carries over from the one before."
    )

    @model_validator(mode="after")
    def _whole_latent_frames(self) -> SegmentsConfig:
        if self.segment_frames % 4 != 1:
            raise ValueError(f"segment_frames {self.segment_frames} is not 4n+1")
        return self


class SegmentWriter:
    """Takes a clip's pictures in order, codes each segment on its own, and makes the record of them.

    Where the clip does not fill the last segment it goes on backwards from its last frame, and forwards again from its
    first, no end repeated (Wan2.2 official code). Memory does not grow with the clip.
    """

    def __init__(
        self, coder: Coder, config: SegmentsConfig, frames: int, size: Size, context: ClipContext
    ) -> None:
        self._frames = frames
        self._overlap = config.segment_overlap
        self._length = config.segment_frames
        found = segments(frames, self._length, self._overlap)
        self._starts = tuple(start for start, _ in found.windows)
        # Pictures that segments share are given twice, so that they may differ.
        layout = Layout(self._length, 0, self._starts, self._length * len(self._starts), 0, 0)
        self._writer = LatentWriter(coder, config, layout, size, context)
        self._padding_T = found.indices_T[frames:]
        self._again = context.spool(np.uint8, size[1], size[0], 3)  # pictures that the padding shows
        self._again_from = int(self._padding_T.min(initial=frames))
        self._again_to = int(self._padding_T.max(initial=-1))
        self._segment = 0
        self._seen = 0  # padded frames
        self._carried: list[npt.NDArray[np.uint8]] = []

    def add(
        self, frames_THWC: npt.NDArray[np.uint8], carried_THWC: npt.NDArray[np.uint8] | None = None
    ) -> None:
        """Takes the next pictures, uint8 [T, height, width, 3].

        `carried_THWC` are the same frames as a segment shows them that carries them over; None: alike.

        Raises:
            ValueError: more pictures than the clip has.
        """
        if self._seen + len(frames_THWC) > self._frames:
            raise ValueError(f"more than {self._frames} pictures came")
        start = max(0, self._again_from - self._seen)
        stop = max(start, self._again_to + 1 - self._seen)
        self._again.append(frames_THWC[start:stop])
        self._feed(frames_THWC, frames_THWC if carried_THWC is None else carried_THWC)

    def _feed(self, frames_THWC: npt.NDArray[np.uint8], carried_THWC: npt.NDArray[np.uint8]) -> None:
        while len(frames_THWC):
            end = self._starts[self._segment] + self._length
            taken = min(len(frames_THWC), end - self._seen)
            self._writer.add(frames_THWC[:taken])
            begin = max(0, end - self._overlap - self._seen)
            # A copy: a slice would keep the whole window's pictures alive.
            self._carried.extend(carried_THWC[begin:taken].copy())
            self._seen += taken
            frames_THWC, carried_THWC = frames_THWC[taken:], carried_THWC[taken:]
            if self._seen == end and self._segment + 1 < len(self._starts):
                self._segment += 1
                self._writer.add(np.stack(self._carried))
                # Of segments that share more than half their frames, some are carried over once more.
                self._carried = self._carried[self._length - self._overlap :]

    def finish(self, *, view: str, fit: str) -> LatentsRecord:
        """The record. `view` and `fit` are told in it.

        Raises:
            ValueError: not all pictures came.
        """
        if self._seen != self._frames:
            raise ValueError(f"{self._seen} of {self._frames} pictures came")
        for index in self._padding_T - self._again_from:
            picture_1HWC = np.asarray(self._again[int(index) : int(index) + 1])
            self._feed(picture_1HWC, picture_1HWC)
        record = self._writer.finish(view=view, fit=fit)
        return replace(record, frames=self._frames, frames_repeated=len(self._padding_T))

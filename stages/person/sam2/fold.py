"""The mask of a clip by SAM2: chunks of frames on the disk, prompts from the skeleton."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt

from schemas import MaskRecord, Record, SkeletonRecord
from schemas.blocks import compress, pack_bits
from stages.person.mask import EMPTY, SEGMENTATION
from stages.person.sam2.config import Sam2Config
from stages.person.sam2.tracker import Logits, Sam2Tracker
from wanprep.animate.pose import pose_of
from wanprep.animate.sam_prompts import CHUNK_FRAMES, Chunk, sam_chunks
from wanprep.media.geometry import Size, fit_short_side
from wanprep.media.image import RGB, resize_stretch
from wanprep.media.window import Window
from wanprep.spool import ArraySpool
from wanprep.stage import ClipContext, Skipped

_PIECE = 1024  # frames whose points are converted at a time


class Sam2Fold:
    """Follows the subject chunk by chunk; windows may be cut anywhere."""

    def __init__(
        self,
        context: ClipContext,
        config: Sam2Config,
        short_side: int,
        tracker: Sam2Tracker,
        skeleton: SkeletonRecord,
    ) -> None:
        self._context = context
        self._config = config
        self._tracker = tracker
        self._video: Size = (skeleton.width, skeleton.height)
        self._size = fit_short_side(*self._video, short_side)
        self._body_TKC = body_points(skeleton, config)
        length = CHUNK_FRAMES if config.compat == "official" else config.chunk
        self._chunks = sam_chunks(self._body_TKC, self._video, length, config.compat)
        self._number = 0  # of the chunk whose frames come
        self._frames = self._spool()
        self._carried: Logits | None = None
        self._blocks = context.blocks()
        self._coverage: list[float] = []

    def add(self, window: Window) -> None:
        pictures_THWC = self._pictures(window)
        while len(pictures_THWC) and self._number < len(self._chunks):
            taken = self._chunks[self._number].frames - len(self._frames)
            self._frames.append(pictures_THWC[:taken])
            pictures_THWC = pictures_THWC[taken:]
            if len(self._frames) == self._chunks[self._number].frames:
                self._follow()

    def finish(self, inputs: Mapping[str, Record]) -> MaskRecord | Skipped:
        coverage_T = np.array(self._coverage, np.float32)
        if len(coverage_T) != len(self._body_TKC):
            raise ValueError(f"{len(coverage_T)} of {len(self._body_TKC)} frames came")
        if not coverage_T.any():
            return Skipped("the mask is empty", 0.0)
        return MaskRecord(
            backend="sam2",
            frames=len(coverage_T),
            width=self._size[0],
            height=self._size[1],
            blocks=self._blocks.blocks,
            offsets_T=self._blocks.offsets_T,
            quality_T=np.where(coverage_T > 0, SEGMENTATION, EMPTY).astype(np.uint8),
            coverage_T=coverage_T,
            mean_coverage=float(coverage_T.mean()),
        )

    def _pictures(self, window: Window) -> npt.NDArray[np.uint8]:
        size = (self._tracker.side, self._tracker.side)
        if self._config.compat == "robust":
            return window.rgb_THWC(size)
        return np.stack([resize_stretch(rgb_HWC, size) for rgb_HWC in window.rgb_THWC()])

    def _follow(self) -> None:
        """Masks of the chunk that is complete; begins the next one."""
        chunk, frames = self._chunks[self._number], self._frames
        carried = self._carried if chunk.carried else None
        if chunk.carried and carried is None:
            # The person was lost: look for them anew, wherever in the chunk they are sure to be.
            part_TKC = self._body_TKC[chunk.start : chunk.start + chunk.frames]
            (anew,) = sam_chunks(part_TKC, self._video, max(2, chunk.frames), self._config.compat)
            chunk = Chunk(chunk.start, chunk.frames, chunk.carried, anew.prompts)

        def picture(frame: int) -> RGB:
            rgb_HWC: RGB = np.asarray(frames[frame : frame + 1])[0]
            return rgb_HWC

        nothing = np.zeros(self._size[::-1], bool)
        blocks, coverage = [compress(pack_bits(nothing))] * chunk.frames, [0.0] * chunk.frames
        last: Logits | None = None
        for frame, logits_HW in self._tracker.follow(chunk, picture, self._video, carried):
            mask_HW = cv2.resize(logits_HW, self._size, interpolation=cv2.INTER_LINEAR) > 0
            blocks[frame], coverage[frame] = compress(pack_bits(mask_HW)), float(mask_HW.mean())
            if frame == chunk.frames - 1:
                last = logits_HW
        for block in blocks[chunk.carried :]:
            self._blocks.add(block)
        self._coverage += coverage[chunk.carried :]
        self._carried = last if coverage[-1] else None
        self._number += 1
        if self._number < len(self._chunks):
            self._frames = self._spool()
            over = self._chunks[self._number].carried
            self._frames.append(frames[chunk.frames - over : chunk.frames])
        frames.close()

    def _spool(self) -> ArraySpool:
        return self._context.spool(np.uint8, self._tracker.side, self._tracker.side, 3)


def body_points(skeleton: SkeletonRecord, config: Sam2Config) -> npt.NDArray[np.float32]:
    """The skeleton's 20 body points [T,20,3]: x and y as fractions of the frame, confidence.

    Under "robust" a frame without a body has no confidence, under "official" the body of the frame before.

    Raises:
        OfficialFailure: the first frame shows nobody, under "official".
    """
    size = (skeleton.width, skeleton.height)
    if config.compat == "official":
        return pose_of(np.asarray(skeleton.keypoints_TKC[:]), size, "official").body_TKC
    parts = []
    for start in range(0, skeleton.frames, _PIECE):
        pose = pose_of(np.asarray(skeleton.keypoints_TKC[start : start + _PIECE]), size)
        body_TKC = pose.body_TKC.copy()
        body_TKC[pose.held_T, :, 2] = 0
        parts.append(body_TKC)
    return np.concatenate(parts)

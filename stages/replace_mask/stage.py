"""Stage `replace_mask`: the subject's mask dilated and coarsened to a grid, at the size that is generated at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from schemas import MaskRecord, Record, ReplaceMaskRecord
from schemas.blocks import compress, pack_bits
from schemas.replace_mask import FROM_NEIGHBOURS, NOBODY, OWN
from stages.replace_mask.scale import scale_mask
from stages.size import SizeConfig
from wanprep.animate.compat import Compat
from wanprep.animate.mask_grid import Mask, augment_mask
from wanprep.stage import ClipContext, Resources, Skipped, Stage, StageConfig

_CHUNK = 32  # masks unpacked at a time
_MULTIPLE = 16  # pixels: sides of generated pictures (Wan2.2 official code)


class ReplaceMaskConfig(StageConfig):
    """How the mask of what is replaced comes from the subject's mask."""

    size: SizeConfig = Field(
        default=SizeConfig(),
        description="The size that is generated at: as the official code by an area in the video's own aspect.",
    )
    iterations: int = Field(
        default=3,
        ge=0,
        le=64,
        description="How many times the mask is dilated. 0 leaves it as it is, without a grid.",
    )
    kernel: int = Field(
        default=7,
        ge=1,
        le=255,
        description="Side of the dilating square, pixels. More frees hair and wide sleeves.",
    )
    w_len: int = Field(
        default=1,
        ge=1,
        le=4096,
        description="Columns of the grid whose cells are filled. 1 with h_len 1 makes the mask a rectangle, so that "
        "nothing of the replaced person's outline shows; more keep more of the background.",
    )
    h_len: int = Field(default=1, ge=1, le=4096, description="Rows of the grid.")
    longest_gap: int = Field(
        default=30,
        ge=0,
        description="Frames: empty masks in a row up to this many take the masks of the frames around them. In a "
        "longer gap the person is taken to be away, and the background is kept.",
    )
    compat: Compat = Field(
        default="robust",
        description="official fails a clip whose mask is empty or too thin for the grid in any frame, as the official "
        "code does.",
    )


class ReplaceMask(Stage[ReplaceMaskConfig]):
    """What replacement generates anew; a clip whose mask is empty throughout is skipped."""

    name: ClassVar[str] = "replace_mask"
    version: ClassVar[int] = 1
    record: ClassVar[type[Record]] = ReplaceMaskRecord
    Config: ClassVar[type[StageConfig]] = ReplaceMaskConfig
    needs: ClassVar[tuple[str, ...]] = ("mask",)
    resources: ClassVar[Resources] = Resources(cpus=1.0, memory=60 << 20)

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> ReplaceMaskRecord | Skipped:
        mask, clip = inputs["mask"], context.clip
        assert isinstance(mask, MaskRecord)
        source = (clip.width or mask.width, clip.height or mask.height)
        size = self.config.size.of(*source, _MULTIPLE)
        blocks = context.blocks()
        sources: list[int] = []
        coverage: list[float] = []
        for found, mask_HW, times in self._filled(mask, source, size):
            share = float(mask_HW.mean())
            block = compress(pack_bits(mask_HW.view(np.bool_)))
            for _ in range(times):
                blocks.add(block)
                sources.append(found if share else NOBODY)
                coverage.append(share)
        source_T = np.array(sources, np.uint8)
        if not source_T.any():
            return Skipped("the mask is empty in every frame at the size that is generated at", 0.0)
        config, coverage_T = self.config, np.array(coverage, np.float32)
        return ReplaceMaskRecord(
            backend=mask.backend,
            compat=config.compat,
            iterations=config.iterations,
            kernel=config.kernel,
            w_len=config.w_len,
            h_len=config.h_len,
            frames=len(source_T),
            width=size[0],
            height=size[1],
            blocks=blocks.blocks,
            offsets_T=blocks.offsets_T,
            source_T=source_T,
            coverage_T=coverage_T,
            mean_coverage=float(coverage_T.mean()),
            frames_filled=int((source_T == FROM_NEIGHBOURS).sum()),
            frames_empty=int((source_T == NOBODY).sum()),
        )

    def _filled(
        self, mask: MaskRecord, source: tuple[int, int], size: tuple[int, int]
    ) -> Iterator[tuple[int, Mask, int]]:
        """Where each mask comes from, the mask, and for how many frames."""
        before_HW: Mask | None = None
        gap = 0
        for mask_HW in _masks(mask):
            scaled_HW = scale_mask(mask_HW, source, size)
            if not scaled_HW.any() and self.config.compat == "robust":
                gap += 1
                continue
            if gap:
                yield self._gap(before_HW, scaled_HW, gap)
                gap = 0
            yield OWN, self._augmented(scaled_HW), 1
            before_HW = scaled_HW
        if gap:
            yield self._gap(before_HW, np.zeros(size[::-1], np.uint8), gap)

    def _gap(self, before_HW: Mask | None, after_HW: Mask, frames: int) -> tuple[int, Mask, int]:
        if frames > self.config.longest_gap:
            return NOBODY, np.zeros_like(after_HW), frames
        # Where the person was and where they will be: both ways in between lie about there.
        around_HW = after_HW if before_HW is None else before_HW | after_HW
        if not around_HW.any():
            return NOBODY, around_HW, frames
        return FROM_NEIGHBOURS, self._augmented(around_HW), frames

    def _augmented(self, mask_HW: Mask) -> Mask:
        config = self.config
        return augment_mask(
            mask_HW, config.iterations, config.kernel, config.w_len, config.h_len, config.compat
        )


def _masks(mask: MaskRecord) -> Iterator[npt.NDArray[np.bool_]]:
    for start in range(0, mask.frames, _CHUNK):
        yield from mask.masks_THW(start, min(start + _CHUNK, mask.frames))

"""Stage `mask`: where the subject is, one bit a pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import cv2
import numpy as np
from pydantic import Field

from schemas import Record
from schemas.blocks import compress, pack_bits
from schemas.mask import MaskRecord
from schemas.skeleton import NO_BODY, SkeletonRecord
from stages.person.coco_wholebody import Points
from stages.person.estimator import PersonFrame, Pixels
from stages.person.matte import binary, connected_to_body, follow_edges, hull, median3, paste, without_others
from stages.person.person_pass import Tracked, person_pass
from stages.person.sam2.config import Sam2Config
from stages.person.slots import Row, SlotSpools
from stages.person.stage import PersonConfig, PersonStage
from wanprep.media.geometry import Size, fit_short_side
from wanprep.media.window import Window
from wanprep.models.device import check_extra
from wanprep.models.resolve import digest, missing
from wanprep.stage import ClipContext, Fold, Resources, Skipped, StageConfig

#: Values of `quality_T`.
EMPTY, HULL, SEGMENTATION = 0, 1, 2

# Bytes beyond the interpreter's: torch's libraries, 0.9 GB of weights, and the memory of 16 frames.
_SAM2_MEMORY = 2 << 30
_RADIUS = 1 / 8  # of the face width: the guided filter's radius


class MaskConfig(PersonConfig, Sam2Config):
    backend: Literal["estimator", "sam2"] = Field(
        default="estimator",
        description="estimator: the segmentation of the estimator that finds people. sam2: SAM2 follows the subject "
        "from points on the skeleton, as the official preprocessing; needs the stage skeleton, the model and, in "
        "practice, a GPU.",
    )
    short_side: int = Field(
        default=480,
        ge=16,
        le=2160,
        description="Shorter side of the stored mask, pixels. The segmentation itself is 256 pixels square: more than "
        "480 gains little and costs time in proportion to the area.",
    )
    steady: bool = Field(
        default=True,
        description="Take the median over three frames, which stops flicker at the edge and trims very fast hands.",
    )


class Mask(PersonStage[MaskConfig]):
    name: ClassVar[str] = "mask"
    version: ClassVar[int] = 2
    record: ClassVar[type[Record]] = MaskRecord
    Config: ClassVar[type[StageConfig]] = MaskConfig

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("skeleton",) if self.config.backend == "sam2" else ()

    @property
    def resources(self) -> Resources:  # type: ignore[override]
        if self.config.backend != "sam2":
            return super().resources
        return Resources(cpus=1, gpus=1.0 if self.config.device == "cuda" else 0.0, memory=_SAM2_MEMORY)

    def models(self) -> Mapping[str, str]:
        if self.config.backend != "sam2":
            return super().models()
        return {"sam2": digest(self.config.model)}

    def unavailable(self) -> str | None:
        if self.config.backend != "sam2":
            return super().unavailable()
        return check_extra("torch", "transformers") or missing(self.config.model)

    def setup(self) -> None:
        if self.config.backend != "sam2":
            return super().setup()
        from stages.person.sam2.tracker import Sam2Tracker

        self._tracker = Sam2Tracker(self.config)

    def begin(self, context: ClipContext, inputs: Mapping[str, Record]) -> Fold:
        if self.config.backend != "sam2":
            return MaskFold(context, self.config)
        from stages.person.sam2.fold import Sam2Fold

        skeleton = inputs["skeleton"]
        assert isinstance(skeleton, SkeletonRecord)
        return Sam2Fold(context, self.config, self.config.short_side, self._tracker, skeleton)


@dataclass(frozen=True, slots=True, eq=False)
class _Soft:
    """One person's probability in one frame, not yet steadied."""

    probability_HW: Pixels
    keypoints_KC: Points  # in the mask's pixels
    quality: int


class MaskFold:
    """Refines everyone's mask one frame behind the video, and keeps the bits until the subject is known."""

    def __init__(self, context: ClipContext, config: MaskConfig) -> None:
        self._context = context
        self._config = config
        self._pass = person_pass(context, config.estimator)
        self._pass.request_segmentation()
        self._size: Size = (0, 0)
        self._rows = SlotSpools(
            context, self._pass.slots, {"quality": (np.uint8, ()), "coverage": (np.float32, ())}
        )
        self._blocks = [context.blocks() for _ in range(self._pass.slots)]
        self._before: dict[int, _Soft] = {}  # by track, the frame before the pending one
        self._pending: dict[int, _Soft] | None = None

    def add(self, window: Window) -> None:
        self._size = fit_short_side(window.width, window.height, self._config.short_side)
        scale = (self._size[0] / window.width, self._size[1] / window.height)
        guides = window.rgb_THWC(self._pass.working_size(window))
        for frame_HWC, people in zip(guides, self._pass.people(window), strict=True):
            self._advance(self._soft(frame_HWC, people, scale))

    def finish(self, inputs: Mapping[str, Record]) -> MaskRecord | Skipped:
        self._advance({})
        track = self._pass.subject()
        quality_T = None if track is None else self._rows.whole("quality", track)
        if track is None or quality_T is None or not quality_T.any():
            return Skipped("the mask is empty", 0.0)
        coverage_T = self._rows.whole("coverage", track)
        width, height = self._size
        blocks = self._context.blocks()
        nothing = compress(pack_bits(np.zeros((height, width), bool)))
        offsets = [slot.offsets_T for slot in self._blocks]
        for frame, slot in enumerate(self._rows.slot_T(track)):
            if slot < 0:
                blocks.add(nothing)
            else:
                start, stop = offsets[slot][frame : frame + 2]
                blocks.add(self._blocks[slot].blocks[start:stop].tobytes())
        return MaskRecord(
            backend=self._config.estimator.backend,
            frames=len(quality_T),
            width=width,
            height=height,
            blocks=blocks.blocks,
            offsets_T=blocks.offsets_T,
            quality_T=quality_T,
            coverage_T=coverage_T,
            mean_coverage=float(coverage_T.mean()),
        )

    def _soft(self, frame_HWC: Pixels, people: list[Tracked], scale: tuple[float, float]) -> dict[int, _Soft]:
        shown = [tracked for tracked in people if tracked.person.status != NO_BODY]
        if not shown:
            return {}
        guide_HWC = frame_HWC
        if frame_HWC.shape[1::-1] != self._size:
            # Half the size or less needs averaging; otherwise bilinear does, at a quarter of the cost.
            shrinks = frame_HWC.shape[0] >= 2 * self._size[1]
            guide_HWC = cv2.resize(  # type: ignore[assignment]
                frame_HWC, self._size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            )
        soft = [self._probability(guide_HWC, tracked.person, scale) for tracked in shown]
        alone = without_others([probability_HW for probability_HW, _ in soft])
        move = np.array([*scale, 1], np.float32)
        return {
            tracked.track: _Soft(probability_HW, tracked.person.keypoints_KC * move, quality)
            for tracked, probability_HW, (_, quality) in zip(shown, alone, soft, strict=True)
        }

    def _probability(
        self, guide_HWC: Pixels, person: PersonFrame, scale: tuple[float, float]
    ) -> tuple[Pixels, int]:
        if person.segmentation is None:
            return hull(person, self._size, scale), HULL
        rough_HW = paste(person.segmentation, self._size, scale)
        radius = max(1, round(person.head.width * scale[0] * _RADIUS))
        return follow_edges(rough_HW, guide_HWC, radius), SEGMENTATION

    def _advance(self, after: dict[int, _Soft]) -> None:
        """Finishes the pending frame, now that the one after it is known."""
        if self._pending is not None:
            rows: list[tuple[int, Row]] = []
            for slot, blocks in enumerate(self._blocks):
                if slot >= len(self._pending):
                    blocks.add(b"")
                    continue
                track, soft = list(self._pending.items())[slot]
                mask_HW = connected_to_body(binary(self._steady(track, soft, after)), soft.keypoints_KC)
                coverage = float(mask_HW.mean())
                blocks.add(compress(pack_bits(mask_HW)))
                rows.append((track, {"quality": soft.quality if coverage else EMPTY, "coverage": coverage}))
            self._rows.add([rows])
            self._before = self._pending
        self._pending = after

    def _steady(self, track: int, soft: _Soft, after: dict[int, _Soft]) -> Pixels:
        before, following = self._before.get(track), after.get(track)
        if not self._config.steady or before is None or following is None:
            return soft.probability_HW
        return median3(before.probability_HW, soft.probability_HW, following.probability_HW)

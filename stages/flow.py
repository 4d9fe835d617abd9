"""Stage `flow`: optical flow between consecutive frames, the camera's part in it, and cuts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from schemas import FlowRecord, Record
from schemas.blocks import compress, pack_bits
from stages.optical_flow.camera import Camera, CameraFit
from stages.optical_flow.estimator import DisEstimator, Estimator, FlowField, Gray, Preset
from stages.optical_flow.warp import Grid, consistent_HW, similarity
from wanprep.media.geometry import fit_short_side
from wanprep.media.window import Window
from wanprep.stage import ClipContext, FrameStage, Media, Resources, Skipped, StageConfig

# Pixels a quantisation step: the rounding error, 1/16 at most, stays under the estimator's own.
_FINEST = 1 / 8
_STEPS = 127


class FlowConfig(StageConfig):
    """How optical flow is estimated and what of it is kept."""

    backend: Literal["dis"] = Field(
        default="dis",
        description="Estimator: dis is OpenCV's Dense Inverse Search, which needs neither weights nor a GPU.",
    )
    short_side: int = Field(
        default=240,
        ge=16,
        le=2160,
        description="Shorter side of the compared pictures and of the stored flow, pixels. 480 costs four "
        "times the time and bytes for finer outlines.",
    )
    preset: Preset = Field(
        default="medium",
        description="Search effort: medium explains the pictures best; fast costs a fifth of it, ultrafast a "
        "tenth, and both are blockier.",
    )
    consistency: bool = Field(
        default=True,
        description="Also estimate backwards and keep where both agree: tells covered places from moving "
        "ones for twice the time.",
    )
    cut_similarity: float = Field(
        default=0.6,
        ge=-1,
        le=1,
        description="A pair less alike than this after motion compensation (1: the same) is a cut. Higher "
        "finds more of the cuts within a scene and takes more flashes for cuts.",
    )


class Flow(FrameStage[FlowConfig]):
    """Flow of each pair of neighbouring frames; a clip of one frame is skipped."""

    name: ClassVar[str] = "flow"
    version: ClassVar[int] = 2
    record: ClassVar[type[Record]] = FlowRecord
    Config: ClassVar[type[StageConfig]] = FlowConfig
    reads: ClassVar[frozenset[Media]] = frozenset({Media.VIDEO})
    resources: ClassVar[Resources] = Resources(cpus=1.0, memory=60 << 20)

    def models(self) -> Mapping[str, str]:
        return {"opencv": cv2.__version__}

    def setup(self) -> None:
        # A second thread saves 1.2 to 1.7 times the wall time for 20 to 65 % more CPU (measured): workers,
        # which run side by side, are better off without.
        cv2.setNumThreads(1)

    def begin(self, context: ClipContext, inputs: Mapping[str, Record]) -> FlowFold:
        return FlowFold(self.config, DisEstimator(self.config.preset), context)


class FlowFold:
    """Flow over one clip. Keeps the last picture, so that windows may be cut anywhere."""

    def __init__(self, config: FlowConfig, estimator: Estimator, context: ClipContext) -> None:
        self._config = config
        self._estimator = estimator
        self._last_HW: Gray | None = None
        self._flow = context.blocks()
        self._scale_T = context.spool(np.float32)
        self._consistent = context.blocks()
        self._consistent_T = context.spool(np.float32)
        self._motion_T = context.spool(np.float32)
        self._camera_TC = context.spool(np.float32, 3)
        self._cut_T = context.spool(np.bool_)
        self._size = (0, 0)
        self._cuts = 0
        self._motion_sum = 0.0
        self._camera_sum = 0.0

    def add(self, window: Window) -> None:
        if self._last_HW is None:
            width, height = self._size = fit_short_side(window.width, window.height, self._config.short_side)
            self._grid = Grid(width, height)
            self._fit = CameraFit(width, height)
        for gray_HW in window.gray_THW(self._size):
            if self._last_HW is not None:
                self._add_pair(self._last_HW, gray_HW)
            self._last_HW = gray_HW
        # A copy: the slice would keep the whole window's pictures alive.
        self._last_HW = gray_HW.copy()

    def _add_pair(self, first_HW: Gray, second_HW: Gray) -> None:
        width, height = self._size
        # A timeline faster than its source repeats pictures: nothing to estimate.
        if np.array_equal(first_HW, second_HW):
            still_HWC = np.zeros((height, width, 2), np.float32)
            self._put(still_HWC, np.ones((height, width), np.bool_), Camera(), motion=0.0, cut=False)
            return
        flow_HWC = self._estimator.flow_HWC(first_HW, second_HW)
        if similarity(first_HW, second_HW, flow_HWC, self._grid) < self._config.cut_similarity:
            none_HWC = np.zeros((height, width, 2), np.float32)
            self._put(none_HWC, np.zeros((height, width), np.bool_), Camera(), motion=0.0, cut=True)
            return
        agree_HW = None
        if self._config.consistency:
            agree_HW = consistent_HW(flow_HWC, self._estimator.flow_HWC(second_HW, first_HW), self._grid)
        camera = self._fit.fit(flow_HWC, first_HW)
        motion, camera_length = self._fit.lengths(camera, flow_HWC)
        self._camera_sum += camera_length
        self._put(flow_HWC, agree_HW, camera, motion=motion, cut=False)

    def _put(
        self,
        flow_HWC: FlowField,
        agree_HW: npt.NDArray[np.bool_] | None,
        camera: Camera,
        *,
        motion: float,
        cut: bool,
    ) -> None:
        scale = max(_FINEST, float(np.abs(flow_HWC).max()) / _STEPS)
        steps_HWC = np.clip(np.rint(flow_HWC / np.float32(scale)), -_STEPS, _STEPS).astype(np.int8)
        self._flow.add(compress(steps_HWC))
        self._scale_T.append([scale])
        if self._config.consistency and agree_HW is not None:
            self._consistent.add(compress(pack_bits(agree_HW)))
            self._consistent_T.append([np.mean(agree_HW)])
        self._motion_T.append([motion])
        self._camera_TC.append([(camera.shift_x, camera.shift_y, camera.zoom)])
        self._cut_T.append([cut])
        self._motion_sum += motion
        self._cuts += cut

    def finish(self, inputs: Mapping[str, Record]) -> FlowRecord | Skipped:
        pairs = len(self._cut_T)
        if not pairs:
            return Skipped("a single frame has no flow", 1.0)
        width, height = self._size
        kept = self._config.consistency
        connected = max(1, pairs - self._cuts)
        return FlowRecord(
            backend=f"{self._config.backend}-{self._config.preset}",
            pairs=pairs,
            width=width,
            height=height,
            blocks=self._flow.blocks,
            offsets_T=self._flow.offsets_T,
            scale_T=self._scale_T.tensor(),
            consistent_blocks=self._consistent.blocks if kept else None,
            consistent_offsets_T=self._consistent.offsets_T if kept else None,
            consistent_T=self._consistent_T.tensor() if kept else None,
            motion_T=self._motion_T.tensor(),
            camera_TC=self._camera_TC.tensor(),
            cut_T=self._cut_T.tensor(),
            mean_motion=self._motion_sum / connected,
            mean_camera=self._camera_sum / connected,
            cuts=self._cuts,
        )

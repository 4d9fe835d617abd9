"""Stage `face_crops`: cuts the subject's face out of each frame and keeps it for Wan2.2-Animate's face encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, cast

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from schemas import FaceCropsRecord, FaceRecord, Record
from schemas.face_crops import enlarge, is_kept_small
from schemas.pictures import PictureCodec, encode_picture
from stages.face_crops.official import OfficialFrames, cut_official, official_boxes
from stages.face_crops.square import squares
from wanprep.animate.compat import Compat
from wanprep.animate.face_crop import FACE_SIDE
from wanprep.media.image import RGB
from wanprep.media.window import Window
from wanprep.stage import ClipContext, Fold, FrameStage, Media, Resources, Skipped, StageConfig

_RATE = 25.0  # frames a second of a clip that does not say


class FaceCropsConfig(StageConfig):
    """Where faces are cut out and how the pictures are kept."""

    compat: Compat = Field(
        default="robust",
        description="robust: square boxes inside the frame, smoothed, gaps filled and flagged. official: the official "
        "box of each frame by itself, stretched to a square; a clip with a frame without a face fails, as there.",
    )
    side: int = Field(
        default=FACE_SIDE, ge=64, le=2048, description="Pixels a side of a crop; Animate takes 512."
    )
    sigma: float = Field(
        default=2.0,
        ge=0,
        le=30,
        description="Frames of the Gaussian over the box (robust). 2 takes two thirds of the shaking away and moves "
        "a dancer's face by 2 % of the crop; 0: none.",
    )
    fill_gaps: float = Field(
        default=3.0,
        ge=0,
        le=60,
        description="Seconds (robust): no longer than this without a face, the box goes on between those before and "
        "after, flagged in filled_T. A head that turns away stays in the picture.",
    )
    long_gaps: Literal["skip", "black"] = Field(
        default="skip",
        description="There is no face for longer (robust): skip the clip with the seconds, or black crops there, which "
        "is Animate's own sign for no face.",
    )
    frame_area: int | None = Field(
        default=None,
        ge=64 * 64,
        le=8192 * 8192,
        description="Pixels that frames are brought to before (official): 921600 (1280x720) is what replacement cuts "
        "from. none: the video's own, as for animation; small faces stay sharper.",
    )
    codec: PictureCodec = Field(
        default="webp-lossless",
        description="webp-lossless: exact, 44 kB for a face of 250 pixels; jpeg: half of that or less, not exact.",
    )
    jpeg_quality: int = Field(
        default=95, ge=50, le=100, description="Of codec jpeg: 95 is 48 dB from the exact crop, 90 is 46."
    )


class FaceCrops(FrameStage[FaceCropsConfig]):
    """A crop of every frame, whether a face was found in it or not."""

    name: ClassVar[str] = "face_crops"
    version: ClassVar[int] = 1
    record: ClassVar[type[Record]] = FaceCropsRecord
    Config: ClassVar[type[StageConfig]] = FaceCropsConfig
    reads: ClassVar[frozenset[Media]] = frozenset({Media.VIDEO})
    needs: ClassVar[tuple[str, ...]] = ("face",)
    resources: ClassVar[Resources] = Resources(cpus=1.0, memory=40 << 20)

    def setup(self) -> None:
        cv2.setNumThreads(1)

    def begin(self, context: ClipContext, inputs: Mapping[str, Record]) -> Fold:
        """Boxes are known before the first frame.

        Raises:
            OfficialFailure: the official code crops no face in some frame, under compat "official".
        """
        face = cast(FaceRecord, inputs["face"])
        size = face.width, face.height
        # Points may be on disk: they are read in parts.
        points_TKC, valid_T = face.points_TKC, np.asarray(face.valid_T, np.bool_)
        if self.config.compat == "official":
            frames = OfficialFrames(*size, self.config.frame_area)
            boxes_TC = official_boxes(points_TKC, valid_T, frames)
            return CropFold(context, self.config, frames.size, boxes_TC, valid_T, ~valid_T)
        fps = context.clip.fps or _RATE
        longest_fill = round(self.config.fill_gaps * fps)
        found = squares(points_TKC, valid_T, size, sigma=self.config.sigma, longest_fill=longest_fill)
        if found is None:
            return _NothingToCut(Skipped("no face inside the frame", 0.0))
        if found.longest_gap > longest_fill and self.config.long_gaps == "skip":
            reason = f"the face is not seen for longer than fill_gaps={self.config.fill_gaps:g} seconds"
            return _NothingToCut(Skipped(reason, found.longest_gap / fps))
        return CropFold(context, self.config, size, found.boxes_TC, found.valid_T, found.filled_T)


class CropFold:
    """Cuts one clip's faces; windows may be cut anywhere."""

    def __init__(
        self,
        context: ClipContext,
        config: FaceCropsConfig,
        size: tuple[int, int],
        boxes_TC: npt.NDArray[np.float32],
        valid_T: npt.NDArray[np.bool_],
        filled_T: npt.NDArray[np.bool_],
    ) -> None:
        self._config = config
        self._size = size
        self._boxes_TC = boxes_TC
        self._valid_T = valid_T
        self._filled_T = filled_T
        self._blocks = context.blocks()
        self._sharpness_T = context.spool(np.float32)

    def add(self, window: Window) -> None:
        for frame, rgb_HWC in enumerate(window.rgb_THWC(), start=window.start):
            box_C = self._boxes_TC[frame].astype(np.float64)
            kept_HWC = self._cut(rgb_HWC, box_C)
            self._blocks.add(encode_picture(kept_HWC, self._config.codec, self._config.jpeg_quality))
            gray_HW = cv2.cvtColor(kept_HWC, cv2.COLOR_RGB2GRAY)
            laplacian_HW = cv2.Laplacian(
                enlarge(gray_HW.astype(np.uint8), box_C, self._config.side), cv2.CV_16S
            )
            self._sharpness_T.append([cv2.norm(laplacian_HW, cv2.NORM_L2SQR) / laplacian_HW.size])

    def _cut(self, rgb_HWC: RGB, box_C: npt.NDArray[np.float64]) -> RGB:
        """Source pixels around a box, or the crop where they are too many."""
        if self._config.compat == "official":
            return cut_official(rgb_HWC, box_C, self._config.side, self._config.frame_area)
        if not box_C.any():
            return np.zeros((1, 1, 3), np.uint8)
        x0, y0 = np.floor(box_C[:2]).astype(int)
        x1, y1 = np.ceil(box_C[2:]).astype(int)
        pixels_HWC = np.ascontiguousarray(rgb_HWC[y0:y1, x0:x1])
        side = self._config.side
        if is_kept_small(pixels_HWC, side):
            return pixels_HWC
        # Without averaging, pixels between the samples of a picture made smaller would be passed over.
        return np.asarray(cv2.resize(pixels_HWC, (side, side), interpolation=cv2.INTER_AREA), np.uint8)

    def finish(self, inputs: Mapping[str, Record]) -> FaceCropsRecord:
        sharpness_T = np.asarray(self._sharpness_T)
        return FaceCropsRecord(
            compat=self._config.compat,
            codec=self._config.codec,
            size=self._config.side,
            frames=len(sharpness_T),
            width=self._size[0],
            height=self._size[1],
            blocks=self._blocks.blocks,
            offsets_T=self._blocks.offsets_T,
            boxes_TC=self._boxes_TC,
            valid_T=self._valid_T,
            filled_T=self._filled_T,
            sharpness_T=sharpness_T,
            face_share=float(self._valid_T.mean()),
            mean_sharpness=float(sharpness_T[self._valid_T].mean()),
        )


class _NothingToCut:
    def __init__(self, skipped: Skipped) -> None:
        self._skipped = skipped

    def add(self, window: Window) -> None:
        """Nothing is made of this clip: its frames are not even converted."""

    def finish(self, inputs: Mapping[str, Record]) -> Skipped:
        return self._skipped

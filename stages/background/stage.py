"""Keeps the driving video with black where the person is replaced, for stores that travel without their videos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from schemas import BackgroundRecord, Record, ReplaceMaskRecord
from schemas.pictures import PictureCodec, encode_picture
from wanprep.animate.replacement_ground import ground_THWC, video_at_size_THWC
from wanprep.media.window import Window
from wanprep.stage import ClipContext, FrameStage, Media, Resources, StageConfig


class BackgroundConfig(StageConfig):
    """How the pictures are kept. Their size is that of `replace_mask`."""

    codec: PictureCodec = Field(
        default="webp-lossless",
        description="webp-lossless: exactly what the video gives. jpeg: a fraction of the bytes, not exact; black is "
        "put back over the mask by who reads it with the mask.",
    )
    jpeg_quality: int = Field(
        default=95, ge=50, le=100, description="Of codec jpeg: less takes fewer bytes and shows more blocks."
    )


class Background(FrameStage[BackgroundConfig]):
    """What replacement keeps of the video: the pictures that `background_latents` codes, at the same size."""

    name: ClassVar[str] = "background"
    version: ClassVar[int] = 1
    record: ClassVar[type[Record]] = BackgroundRecord
    Config: ClassVar[type[StageConfig]] = BackgroundConfig
    reads: ClassVar[frozenset[Media]] = frozenset({Media.VIDEO})
    needs: ClassVar[tuple[str, ...]] = ("replace_mask",)
    resources: ClassVar[Resources] = Resources(cpus=1.0, memory=150 << 20)

    def begin(self, context: ClipContext, inputs: Mapping[str, Record]) -> PictureFold:
        mask = inputs["replace_mask"]
        assert isinstance(mask, ReplaceMaskRecord)
        return PictureFold(context, self.config, mask)


class PictureFold:
    """Backgrounds of one clip; windows may be cut anywhere."""

    def __init__(self, context: ClipContext, config: BackgroundConfig, mask: ReplaceMaskRecord) -> None:
        self._config = config
        self._mask = mask
        self._blocks = context.blocks()

    def add(self, window: Window) -> None:
        video_THWC = video_at_size_THWC(window, (self._mask.width, self._mask.height))
        masks_THW = self._mask.masks_THW(window.start, window.start + len(window))
        for picture_HWC in ground_THWC(video_THWC, masks_THW):
            self._blocks.add(encode_picture(picture_HWC, self._config.codec, self._config.jpeg_quality))

    def finish(self, inputs: Mapping[str, Record]) -> BackgroundRecord:
        offsets_T = self._blocks.offsets_T
        return BackgroundRecord(
            codec=self._config.codec,
            frames=len(offsets_T) - 1,
            width=self._mask.width,
            height=self._mask.height,
            blocks=self._blocks.blocks,
            offsets_T=offsets_T,
        )

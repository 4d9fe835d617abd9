"""Which record a stage's artifacts are read as. A plug-in's stage is read as a plain row."""

from __future__ import annotations

from schemas.audio import AudioRecord
from schemas.caption import CaptionRecord
from schemas.face import FaceRecord
from schemas.flow import FlowRecord
from schemas.image_embed import ImageEmbedRecord
from schemas.latents import LatentsRecord
from schemas.mask import MaskRecord
from schemas.quality import QualityRecord
from schemas.record import Record
from schemas.skeleton import SkeletonRecord
from schemas.text import NegativeTextRecord, TextRecord

RECORDS: dict[str, type[Record]] = {
    "audio": AudioRecord,
    "caption": CaptionRecord,
    "face": FaceRecord,
    "flow": FlowRecord,
    "image_embed": ImageEmbedRecord,
    "mask": MaskRecord,
    "negative_text": NegativeTextRecord,
    "quality": QualityRecord,
    "reference_latents": LatentsRecord,
    "skeleton": SkeletonRecord,
    "text": TextRecord,
    "video_latents": LatentsRecord,
}

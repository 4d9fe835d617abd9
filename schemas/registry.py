"""Which record a stage's artifacts are read as. A plug-in's stage is read as a plain row."""

from __future__ import annotations

from schemas.audio import AudioRecord
from schemas.face import FaceRecord
from schemas.flow import FlowRecord
from schemas.mask import MaskRecord
from schemas.quality import QualityRecord
from schemas.record import Record
from schemas.skeleton import SkeletonRecord

RECORDS: dict[str, type[Record]] = {
    "audio": AudioRecord,
    "face": FaceRecord,
    "flow": FlowRecord,
    "mask": MaskRecord,
    "quality": QualityRecord,
    "skeleton": SkeletonRecord,
}

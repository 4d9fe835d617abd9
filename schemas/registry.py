"""Which record a stage's artifacts are read as. A plug-in's stage is read as a plain row."""

from __future__ import annotations

from schemas.audio import AudioRecord
from schemas.background import BackgroundRecord
from schemas.caption import CaptionRecord
from schemas.face import FaceRecord
from schemas.face_crops import FaceCropsRecord
from schemas.flow import FlowRecord
from schemas.image_embed import ImageEmbedRecord
from schemas.latents import LatentsRecord
from schemas.mask import MaskRecord
from schemas.motion import FaceMotionRecord
from schemas.quality import QualityRecord
from schemas.record import Record
from schemas.reference_skeleton import ReferenceSkeletonRecord
from schemas.replace_mask import ReplaceMaskRecord
from schemas.retarget import RetargetRecord
from schemas.skeleton import SkeletonRecord
from schemas.text import NegativeTextRecord, TextRecord

RECORDS: dict[str, type[Record]] = {
    "audio": AudioRecord,
    "background": BackgroundRecord,
    "background_latents": LatentsRecord,
    "caption": CaptionRecord,
    "face": FaceRecord,
    "face_crops": FaceCropsRecord,
    "face_motion": FaceMotionRecord,
    "flow": FlowRecord,
    "image_embed": ImageEmbedRecord,
    "mask": MaskRecord,
    "negative_text": NegativeTextRecord,
    "pose_latents": LatentsRecord,
    "quality": QualityRecord,
    "reference_latents": LatentsRecord,
    "reference_skeleton": ReferenceSkeletonRecord,
    "replace_mask": ReplaceMaskRecord,
    "retarget": RetargetRecord,
    "s2v_pose_latents": LatentsRecord,
    "skeleton": SkeletonRecord,
    "text": TextRecord,
    "video_latents": LatentsRecord,
}

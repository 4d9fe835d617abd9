"""The contract: what a conditioning store holds, as Arrow schemas and typed records.

One file an artifact. Nothing here imports the rest of the project, so a reader needs only this package.
"""

from schemas.audio import AudioRecord
from schemas.background import BackgroundRecord
from schemas.caption import CaptionRecord
from schemas.clip import ClipRecord
from schemas.face import FaceRecord
from schemas.face_crops import FaceCropsRecord
from schemas.flow import FlowRecord
from schemas.image_embed import ImageEmbedRecord
from schemas.latents import LatentsRecord
from schemas.mask import MaskRecord
from schemas.media import MediaRecord
from schemas.motion import FaceMotionRecord
from schemas.outcome import OutcomeRecord
from schemas.quality import QualityRecord
from schemas.record import Record
from schemas.reference_skeleton import ReferenceSkeletonRecord
from schemas.replace_mask import ReplaceMaskRecord
from schemas.retarget import RetargetRecord
from schemas.skeleton import SkeletonRecord
from schemas.text import NegativeTextRecord, TextRecord
from schemas.version import SCHEMA_VERSION

__all__ = [
    "SCHEMA_VERSION",
    "AudioRecord",
    "BackgroundRecord",
    "CaptionRecord",
    "ClipRecord",
    "FaceCropsRecord",
    "FaceMotionRecord",
    "FaceRecord",
    "FlowRecord",
    "ImageEmbedRecord",
    "LatentsRecord",
    "MaskRecord",
    "MediaRecord",
    "NegativeTextRecord",
    "OutcomeRecord",
    "QualityRecord",
    "Record",
    "ReferenceSkeletonRecord",
    "ReplaceMaskRecord",
    "RetargetRecord",
    "SkeletonRecord",
    "TextRecord",
]

"""The folder that Wan2.2-Animate's official preprocessing leaves for its generator, and what lies beside it here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from schemas import FaceCropsRecord, MaskRecord, ReplaceMaskRecord, RetargetRecord, SkeletonRecord
from wanprep.export.frame_table import TableLayout

# Wan2.2 official code.
POSE, FACE, REFERENCE = "src_pose.mp4", "src_face.mp4", "src_ref.png"
BACKGROUND, MASK = "src_bg.mp4", "src_mask.mp4"
FACE_SIDE = 512  # pixels of a face picture
MULTIPLE = 16  # pixels: sides of generated pictures
FPS = 30.0  # what the generator saves at, whatever came in

MANIFEST = "manifest.json"

#: Stage -> file of its record, lossless.
TABLES: Mapping[str, str] = MappingProxyType(
    {
        "skeleton": "keypoints.parquet",
        "retarget": "retarget.parquet",
        "mask": "mask.parquet",
        "replace_mask": "replace_mask.parquet",
        "face_crops": "face_crops.parquet",
    }
)

LAYOUTS: Mapping[str, TableLayout] = MappingProxyType(
    {
        "skeleton": TableLayout(
            SkeletonRecord,
            {
                "keypoints_TKC": ("float32", (133, 3)),
                "keypoints_smooth_TKC": ("float32", (133, 3)),
                "boxes_TC": ("float32", (4,)),
                "status_T": ("uint8", ()),
                "filled_T": ("uint8", ()),
            },
            {},
        ),
        "retarget": TableLayout(
            RetargetRecord,
            {
                "body_TKC": ("float32", (20, 3)),
                "left_hand_TKC": ("float32", (21, 3)),
                "right_hand_TKC": ("float32", (21, 3)),
                "held_T": ("bool", ()),
            },
            {"ratios_N": ("float32", (19,))},
        ),
        "mask": TableLayout(
            MaskRecord, {"quality_T": ("uint8", ()), "coverage_T": ("float32", ())}, {}, blocks=True
        ),
        "replace_mask": TableLayout(
            ReplaceMaskRecord, {"source_T": ("uint8", ()), "coverage_T": ("float32", ())}, {}, blocks=True
        ),
        "face_crops": TableLayout(
            FaceCropsRecord,
            {
                "boxes_TC": ("float32", (4,)),
                "valid_T": ("bool", ()),
                "filled_T": ("bool", ()),
                "sharpness_T": ("float32", ()),
            },
            {},
            blocks=True,
        ),
    }
)

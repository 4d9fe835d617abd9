"""Mask records of drawn masks, and the stages of replacement on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from schemas import ClipRecord, MaskRecord, ReplaceMaskRecord, SkeletonRecord
from schemas.blocks import compress, pack_bits
from stages.replace_mask import ReplaceMask
from stages.replace_mask.stage import ReplaceMaskConfig
from wanprep.stage import ClipContext, Skipped

Masks = npt.NDArray[np.bool_]


def mask_record(masks_THW: Masks) -> MaskRecord:
    """As the stage `mask` stores them."""
    blocks = [compress(pack_bits(mask_HW)) for mask_HW in masks_THW]
    coverage_T = masks_THW.mean(axis=(1, 2)).astype(np.float32)
    return MaskRecord(
        backend="drawn",
        frames=len(masks_THW),
        width=masks_THW.shape[2],
        height=masks_THW.shape[1],
        blocks=np.frombuffer(b"".join(blocks), np.uint8),
        offsets_T=np.cumsum([0, *map(len, blocks)], dtype=np.int64),
        quality_T=(coverage_T > 0).astype(np.uint8) * np.uint8(2),
        coverage_T=coverage_T,
        mean_coverage=float(coverage_T.mean()),
    )


def clip_of(frames: int, width: int, height: int) -> ClipRecord:
    return ClipRecord(clip_id="clip", recipe="recipe", frames=frames, width=width, height=height, fps=25.0)


def replace_mask(
    folder: Path, masks_THW: Masks, video: tuple[int, int] | None = None, **config: object
) -> ReplaceMaskRecord | Skipped:
    """What the stage makes of these masks of a video of this size; at the masks' own size unless `size` is given."""
    height, width = masks_THW.shape[1:]
    config.setdefault("size", {"width": width, "height": height})
    stage = ReplaceMask(ReplaceMaskConfig.model_validate(config))
    context = ClipContext(clip_of(len(masks_THW), *(video or (width, height))), {}, folder)
    made = stage.run(context, {"mask": mask_record(masks_THW)})
    assert isinstance(made, ReplaceMaskRecord | Skipped)
    return made


def replace_record(
    folder: Path, masks_THW: Masks, video: tuple[int, int] | None = None, **config: object
) -> ReplaceMaskRecord:
    made = replace_mask(folder, masks_THW, video, **config)
    assert isinstance(made, ReplaceMaskRecord)
    return made


def skeleton(frames: int, width: int, height: int, absent: range = range(0)) -> SkeletonRecord:
    """Someone upright in the middle whose points drift to the right; sure of all of them but where absent."""
    keypoints_TKC = np.zeros((frames, 133, 3), np.float32)
    for index in range(frames):
        for point in range(133):
            keypoints_TKC[index, point] = (40 + 0.1 * index + point % 7, 10 + point % 40, 0.9)
    keypoints_TKC[list(absent)] = 0
    status_T = np.ones(frames, np.uint8)
    status_T[list(absent)] = 0
    more = {
        name: np.zeros(frames, np.uint8)
        for name in SkeletonRecord.SCHEMA.names
        if name.endswith("_T") and name != "status_T"
    }
    plain = {
        "backend": "drawn",
        "frames": frames,
        "width": width,
        "height": height,
        "keypoints_TKC": keypoints_TKC,
        "keypoints_smooth_TKC": keypoints_TKC,
        "boxes_TC": np.zeros((frames, 4), np.float32),
        "status_T": status_T,
        "subject_track": 0,
        "tracks": [],
        "people_max": 1,
    }
    shares = {name: 1.0 for name in SkeletonRecord.SCHEMA.names if name.endswith("_share")}
    given = {**more, **plain, **shares}
    return SkeletonRecord(**{name: given.get(name, 0) for name in SkeletonRecord.SCHEMA.names})

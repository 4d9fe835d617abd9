"""Numbers about a clip that sentences can be made of, from what other stages measured and from a few frames.

Every fact is one float under one name; what could not be measured is not there. docs/captions.md lists them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import cv2
import numpy as np
import numpy.typing as npt

from schemas import AudioRecord, FaceRecord, FlowRecord, QualityRecord, Record, SkeletonRecord
from stages.caption.sampling import Sample

Facts = dict[str, float]
Doubles = npt.NDArray[np.float64]

_CHUNK = 512  # frames of a record held at a time
_STEP = 0.2  # seconds over which a movement is measured: longer than jitter, shorter than a gesture
_CONFIDENT = 0.5  # of a keypoint
_LEAST_FRAMES = 3  # below which a number over time means nothing
# COCO-WholeBody points that move with a part, and those against which they move; left and right are the person's.
_PARTS: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "left_arm": ((7, 9), (5, 6)),
    "right_arm": ((8, 10), (5, 6)),
    "legs": ((13, 14, 15, 16), (11, 12)),
    "head": ((0,), (5, 6)),
    "body": ((5, 6, 11, 12), ()),
}


def measure(sample: Sample, records: Mapping[str, Record]) -> Facts:
    """All that can be told. `records` are those of skeleton, face, flow, quality and audio that there are."""
    facts = _pictures(sample)
    for record in records.values():
        if isinstance(record, QualityRecord):
            facts["brightness"], facts["contrast"] = float(record.brightness), float(record.contrast)
    for record in records.values():
        if isinstance(record, SkeletonRecord):
            facts |= _skeleton(record, sample.seconds)
        elif isinstance(record, FaceRecord):
            facts |= _face(record)
        elif isinstance(record, FlowRecord):
            facts |= _camera(record, sample.seconds)
        elif isinstance(record, AudioRecord):
            facts |= {"loudness": float(record.mean_loudness), "voiced_share": float(record.voiced_share)}
    return {name: value for name, value in facts.items() if np.isfinite(value)}


def _pictures(sample: Sample) -> Facts:
    width, height = sample.source_size
    facts = {"width": float(width), "height": float(height), "seconds": sample.seconds}
    brightness, contrast, colour = [], [], []
    for frame_HWC in sample.frames_THWC:
        mean, deviation = cv2.meanStdDev(cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2GRAY))
        brightness.append(mean.item() / 255)
        contrast.append(deviation.item() / 255)
        spread_HW = frame_HWC.max(axis=2).astype(np.int16) - frame_HWC.min(axis=2)
        colour.append(float(spread_HW.mean()) / 255)
    facts |= {"brightness": float(np.mean(brightness)), "contrast": float(np.mean(contrast))}
    return facts | {"colour": float(np.mean(colour))}


def _skeleton(record: SkeletonRecord, seconds: float) -> Facts:
    facts = {
        "people": float(record.people_max),
        "body_share": float(record.body_share),
        "left_hand_share": float(record.left_hand_share),
        "right_hand_share": float(record.right_hand_share),
    }
    rate = record.frames / seconds if seconds else 0.0
    step = max(1, round(_STEP * rate))
    speeds: dict[str, list[Doubles]] = {name: [] for name in _PARTS}
    middles: list[Doubles] = []
    for start, stop in _chunks(record.frames):
        boxes_TC = np.asarray(record.boxes_TC[start:stop], np.float64)
        there_T = boxes_TC[:, 2] > boxes_TC[:, 0]
        middles.append(boxes_TC[there_T][:, [0, 2]].mean(axis=1) / record.width)
        # A step more, so that no movement across the border of two chunks is missed.
        points_TKC = np.asarray(record.keypoints_smooth_TKC[start : stop + step])[:, :17].astype(np.float64)
        tall_T = boxes_TC[:, 3] - boxes_TC[:, 1]
        for name, (moving, against) in _PARTS.items():
            speeds[name].append(_speeds(points_TKC, tall_T, moving, against, step) * rate / step)
    for name, parts in speeds.items():
        speed_T = np.concatenate(parts) if parts else np.zeros(0)
        known_T = speed_T[~np.isnan(speed_T)]
        if len(known_T) >= max(_LEAST_FRAMES, record.frames // 10):
            facts[f"{name}_motion"] = float(np.mean(known_T))
    middle_T = np.concatenate(middles) if middles else np.zeros(0)
    return facts | _ends("body_x", middle_T)


def _speeds(
    points_TKC: Doubles, tall_T: Doubles, moving: tuple[int, ...], against: tuple[int, ...], step: int
) -> Doubles:
    """Mean distance that points go in `step` frames, in heights of the person; NaN where they are not seen."""
    used = [*moving, *against]
    seen_T = (points_TKC[:, used, 2] >= _CONFIDENT).all(axis=1)
    place_TKC = points_TKC[:, list(moving), :2]
    if against:
        place_TKC = place_TKC - points_TKC[:, list(against), :2].mean(axis=1, keepdims=True)
    pairs = min(len(points_TKC) - step, len(tall_T))
    if pairs <= 0:
        return np.zeros(0)
    moved_T = np.linalg.norm(place_TKC[step:][:pairs] - place_TKC[:pairs], axis=2).mean(axis=1)
    known_T = seen_T[:pairs] & seen_T[step:][:pairs] & (tall_T[:pairs] > 0)
    return np.where(known_T, moved_T / np.maximum(tall_T[:pairs], 1e-6), np.nan)


def _face(record: FaceRecord) -> Facts:
    valid_T = np.asarray(record.valid_T[:])
    facts = {"face_share": float(record.face_share)}
    if valid_T.sum() < _LEAST_FRAMES:
        return facts
    boxes_TC = np.asarray(record.boxes_TC[:], np.float64)[valid_T]
    yaw_T = np.asarray(record.head_pose_TC[:], np.float64)[valid_T, 0]
    mouth_T = np.asarray(record.mouth_openness_T[:], np.float64)[valid_T]
    facts |= _ends("face_height", (boxes_TC[:, 3] - boxes_TC[:, 1]) / record.height)
    facts |= _ends("face_x", boxes_TC[:, [0, 2]].mean(axis=1) / record.width)
    facts["face_turn"] = float(np.median(np.abs(yaw_T)))
    facts["face_turn_range"] = float(np.percentile(yaw_T, 95) - np.percentile(yaw_T, 5))
    facts["mouth_motion"] = float(np.percentile(mouth_T, 95) - np.percentile(mouth_T, 5))
    return facts


def _camera(record: FlowRecord, seconds: float) -> Facts:
    camera_TC = np.asarray(record.camera_TC[:], np.float64)
    kept_TC = camera_TC[~np.asarray(record.cut_T[:])]
    facts = {"cuts": float(record.cuts)}
    if not len(kept_TC) or not seconds:
        return facts
    across_T, down_T = kept_TC[:, 0] / record.width, kept_TC[:, 1] / record.height
    # The picture moves against the camera.
    facts["camera_pan"], facts["camera_tilt"] = -float(across_T.sum()), float(down_T.sum())
    facts["camera_zoom"] = float(np.exp(np.log(np.maximum(kept_TC[:, 2], 1e-3)).sum()))
    facts["camera_speed"] = float(np.hypot(across_T, down_T).sum()) / seconds
    facts["motion"] = float(record.mean_motion) / record.width * record.pairs / seconds
    return facts


def _ends(name: str, values_T: Doubles) -> Facts:
    """Medians over all, over the first and over the last third."""
    if len(values_T) < _LEAST_FRAMES:
        return {}
    third = max(1, len(values_T) // 3)
    return {
        name: float(np.median(values_T)),
        f"{name}_start": float(np.median(values_T[:third])),
        f"{name}_end": float(np.median(values_T[-third:])),
    }


def _chunks(frames: int) -> Iterator[tuple[int, int]]:
    for start in range(0, frames, _CHUNK):
        yield start, min(start + _CHUNK, frames)

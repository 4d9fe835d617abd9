"""Whether the artifacts of a clip fit together, before any model is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas import LatentsRecord
from wanprep.animate.segments import segments
from wanprep_infer.conditioning.latents_check import unfit_latents
from wanprep_infer.conditioning.text_check import unfit_text
from wanprep_infer.conditioning.unfit import UnfitConditioning

OVERLAPS = (1, 5)  # frames that Animate's segments carry over (Wan2.2 official code, diffusers)
_MULTIPLE = 16  # pixels: latents of 8 pixels in patches of two

_LATENTS = ("pose_latents", "reference_latents", "background_latents")
_SIZED = ("reference_latents", "replace_mask", "background_latents", "background")
_COUNTED = ("face_crops", "face_motion", "replace_mask", "background_latents", "background")


def check_together(clip_id: str, mode: str, found: Mapping[str, Any]) -> None:
    """Lets through artifacts by stage that fit each other.

    Raises:
        UnfitConditioning: others; one sentence.
    """
    for name in _LATENTS:
        if name in found and (why_not := unfit_latents(found[name])):
            raise UnfitConditioning(f"clip {clip_id}: {why_not}")
    for name in ("text", "negative_text"):
        if name in found and (why_not := unfit_text(found[name])):
            raise UnfitConditioning(f"clip {clip_id}: {why_not}")
    pose: LatentsRecord = found["pose_latents"]
    if pose.width % _MULTIPLE or pose.height % _MULTIPLE:
        raise UnfitConditioning(
            f"clip {clip_id}: pose_latents are of {pose.width}x{pose.height} pixels, and Animate takes multiples of "
            f"{_MULTIPLE}: run again with another pose_latents.size"
        )
    if mode == "replace" and pose.fit == "retarget":
        raise UnfitConditioning(
            f"clip {clip_id}: pose_latents were retargeted to the reference picture, and replacement takes the "
            "driving person's own skeleton: run again with --set pose_latents.mode=replace"
        )
    _check_sizes(clip_id, mode, pose, found)
    _check_counts(clip_id, pose, found)
    overlap_of(clip_id, pose)
    if background := found.get("background_latents"):
        _check_segments_alike(clip_id, pose, background)


def overlap_of(clip_id: str, pose: LatentsRecord) -> int:
    """Frames that segments share; 1 when there is only one segment, which fits any.

    Raises:
        UnfitConditioning: the segments are not cut by Animate's rule.
    """
    starts = pose.segment_starts
    overlap = pose.segment_frames - (starts[1] - starts[0]) if len(starts) > 1 else OVERLAPS[0]
    if overlap not in OVERLAPS:
        raise UnfitConditioning(
            f"clip {clip_id}: segments of pose_latents share {overlap} frames, and Animate carries over "
            f"{' or '.join(map(str, OVERLAPS))}: run again with --set pose_latents.segment_overlap=1"
        )
    cut = segments(pose.frames, pose.segment_frames, overlap)
    if starts != [start for start, _ in cut.windows]:
        raise UnfitConditioning(
            f"clip {clip_id}: pose_latents are not cut into segments by Animate's rule for {pose.frames} frames: "
            "run the stage pose_latents again with this version"
        )
    return overlap


def _check_sizes(clip_id: str, mode: str, pose: LatentsRecord, found: Mapping[str, Any]) -> None:
    for name in _SIZED:
        record = found.get(name)
        if record is None or (record.width, record.height) == (pose.width, pose.height):
            continue
        how = "with one size for all (shared.size.area)"
        if name == "reference_latents" and mode == "replace":
            how += " and --set reference_latents.size_of=video"
        raise UnfitConditioning(
            f"clip {clip_id}: {name} are of {record.width}x{record.height} pixels and pose_latents of "
            f"{pose.width}x{pose.height}: run again {how}"
        )


def _check_counts(clip_id: str, pose: LatentsRecord, found: Mapping[str, Any]) -> None:
    if found["reference_latents"].latents_TCHW.shape[0] != 1:
        raise UnfitConditioning(
            f"clip {clip_id}: reference_latents are of more than one picture: run the stage reference_latents again"
        )
    for name in _COUNTED:
        record = found.get(name)
        if record is not None and record.frames != pose.frames:
            raise UnfitConditioning(
                f"clip {clip_id}: {name} has {record.frames} frames and pose_latents {pose.frames}: run both stages "
                "again on one timeline"
            )


def _check_segments_alike(clip_id: str, pose: LatentsRecord, background: LatentsRecord) -> None:
    if (background.segment_frames, background.segment_starts) != (pose.segment_frames, pose.segment_starts):
        raise UnfitConditioning(
            f"clip {clip_id}: background_latents and pose_latents are cut into different segments: run again with "
            "segment_frames and segment_overlap the same for both (shared.segment_overlap)"
        )

"""A store with a clip whose Animate artifacts are made up, so that no estimator has to run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from helpers.media import frame_HWC, write_picture, write_video
from schemas import (
    ClipRecord,
    FaceCropsRecord,
    FaceRecord,
    MaskRecord,
    MediaRecord,
    OutcomeRecord,
    Record,
    ReplaceMaskRecord,
    RetargetRecord,
    SkeletonRecord,
)
from schemas.blocks import compress, pack_bits
from schemas.pictures import encode_picture
from wanprep.scan import look
from wanprep.spool import BlockSpool
from wanprep.store import layout
from wanprep.store.shard import ShardWriter
from wanprep.store.store import Store

FRAMES, WIDTH, HEIGHT = 21, 160, 96
MODEL = (96, 64)  # width, height of the replacement's and the character's pictures


def keypoints_TKC(frames: int = FRAMES, width: int = WIDTH, height: int = HEIGHT) -> npt.NDArray[np.float32]:
    """Points that wander, all sure, with the face in a small box: float32 [T,133,3]."""
    rng = np.random.default_rng(5)
    start_KC = rng.uniform(0.2, 0.8, (133, 2))
    start_KC[23:91] = rng.uniform((0.4, 0.2), (0.6, 0.5), (68, 2))
    steps_TKC = np.cumsum(rng.normal(0, 0.004, (frames, 133, 2)), axis=0)
    points_TKC = (start_KC + steps_TKC) * (width, height)
    return np.concatenate([points_TKC, np.full((frames, 133, 1), 0.9)], axis=2).astype(np.float32)


def skeleton(frames: int = FRAMES) -> SkeletonRecord:
    points = keypoints_TKC(frames)
    return SkeletonRecord(
        backend="made up",
        frames=frames,
        width=WIDTH,
        height=HEIGHT,
        keypoints_TKC=points,
        keypoints_smooth_TKC=points + np.float32(0.1) * (points[..., 2:] > 0),
        boxes_TC=np.tile(np.array([10, 5, 150, 90], np.float32), (frames, 1)),
        status_T=np.full(frames, 2, np.uint8),
        subject_track=1,
        tracks=[
            {
                "track": 1,
                "first_frame": 0,
                "last_frame": frames - 1,
                "frames": frames,
                "mean_area": 123.456789,
                "mean_score": 0.1,
            }
        ],
        people_max=2,
        body_share=0.1 + 0.2,
        face_share=1.0,
        left_hand_share=1 / 3,
        right_hand_share=0.5,
        filled_T=np.arange(frames, dtype=np.uint8) % 3,
        longest_gap=0.25,
        warnings=["two people"],
    )


def retarget(frames: int = FRAMES) -> RetargetRecord:
    points = keypoints_TKC(frames, *MODEL)
    return RetargetRecord(
        compat="robust",
        points="smooth",
        edited=False,
        width=MODEL[0],
        height=MODEL[1],
        frames=frames,
        body_TKC=points[:, :20],
        left_hand_TKC=points[:, 91:112],
        right_hand_TKC=points[:, 112:133],
        held_T=np.arange(frames) == 3,
        framing="full_body",
        scale=1.7,
        ratios_N=np.linspace(0.5, 1.5, 19).astype(np.float32),
    )


def mask_THW(frames: int, width: int, height: int) -> npt.NDArray[np.bool_]:
    masks = np.zeros((frames, height, width), bool)
    for frame in range(frames):
        masks[frame, height // 4 : height - 8, 10 + frame : width // 2 + frame] = True
    return masks


def _blocks(masks: npt.NDArray[np.bool_]) -> BlockSpool:
    blocks = BlockSpool(Path(tempfile.gettempdir()))
    for picture in masks:
        blocks.add(compress(pack_bits(picture)))
    return blocks


def mask(frames: int = FRAMES) -> MaskRecord:
    masks = mask_THW(frames, WIDTH // 2, HEIGHT // 2)
    blocks = _blocks(masks)
    return MaskRecord(
        backend="made up",
        frames=frames,
        width=WIDTH // 2,
        height=HEIGHT // 2,
        blocks=blocks.blocks,
        offsets_T=blocks.offsets_T,
        quality_T=np.full(frames, 2, np.uint8),
        coverage_T=masks.mean(axis=(1, 2)).astype(np.float32),
        mean_coverage=0.3,
    )


def replace_mask(frames: int = FRAMES) -> ReplaceMaskRecord:
    masks = mask_THW(frames, *MODEL)
    blocks = _blocks(masks)
    return ReplaceMaskRecord(
        backend="made up",
        compat="robust",
        iterations=3,
        kernel=7,
        w_len=1,
        h_len=1,
        frames=frames,
        width=MODEL[0],
        height=MODEL[1],
        blocks=blocks.blocks,
        offsets_T=blocks.offsets_T,
        source_T=np.full(frames, 2, np.uint8),
        coverage_T=masks.mean(axis=(1, 2)).astype(np.float32),
        mean_coverage=0.3,
        frames_filled=0,
        frames_empty=0,
    )


def face_crops(frames: int = FRAMES) -> FaceCropsRecord:
    blocks = BlockSpool(Path(tempfile.gettempdir()))
    for frame in range(frames):
        blocks.add(encode_picture(frame_HWC(frame, 40, 40), "webp-lossless"))
    return FaceCropsRecord(
        compat="robust",
        codec="webp-lossless",
        size=512,
        frames=frames,
        width=WIDTH,
        height=HEIGHT,
        blocks=blocks.blocks,
        offsets_T=blocks.offsets_T,
        boxes_TC=np.tile(np.array([30, 10, 70, 50], np.float32), (frames, 1)),
        valid_T=np.ones(frames, bool),
        filled_T=np.arange(frames) == 2,
        sharpness_T=np.full(frames, 7.5, np.float32),
        face_share=1.0,
        mean_sharpness=7.5,
    )


def face(frames: int = FRAMES) -> FaceRecord:
    """A face that is away in the frames 5 to 8."""
    valid_T = ~((np.arange(frames) >= 5) & (np.arange(frames) <= 8))
    crops_TC = np.tile(np.array([30, 10, 70, 50], np.int32), (frames, 1))
    crops_TC[9:] += 10
    crops_TC[~valid_T] = 0
    zeros_T = np.zeros(frames, np.float32)
    return FaceRecord(
        backend="made up",
        frames=frames,
        width=WIDTH,
        height=HEIGHT,
        valid_T=valid_T,
        score_T=zeros_T,
        boxes_TC=np.zeros((frames, 4), np.float32),
        points_TKC=np.zeros((frames, 68, 2), np.float32),
        mesh_TKC=None,
        head_pose_TC=np.zeros((frames, 3), np.float32),
        eye_openness_TC=np.zeros((frames, 2), np.float32),
        blink_T=np.zeros(frames, bool),
        mouth_openness_T=zeros_T,
        gaze_TC=np.zeros((frames, 2), np.float32),
        brow_height_TC=np.zeros((frames, 2), np.float32),
        crop_boxes_TC=crops_TC,
        face_share=0.8,
    )


def make_store(
    folder: Path,
    records: Mapping[str, Record | str],
    *,
    clip_id: str = "dance",
    fps: float = 30.0,
    prompt: str | None = "她在跳舞",
    reference: bool = True,
) -> Store:
    """A store of one clip with these artifacts by stage; a text in place of a record is why it was skipped."""
    folder.mkdir(parents=True, exist_ok=True)
    video = write_video(folder / "dance.mp4", FRAMES, fps=fps, size=(WIDTH, HEIGHT))
    picture = write_picture(folder / "character.png", (96, 64))
    store = Store.create(str(folder / "store"), run="test")
    media = [_media(video, "video"), *([_media(picture, "image")] if reference else [])]
    store.write_rows(layout.MEDIA, MediaRecord, media, ["media", clip_id])
    keys = {stage: f"{number:032x}" for number, stage in enumerate(records, start=len(clip_id))}
    for stage, record in records.items():
        if isinstance(record, str):
            end = OutcomeRecord(
                key=keys[stage], stage=stage, clip_id=clip_id, outcome="skipped", reason=record, run="test"
            )
            store.write_rows(layout.OUTCOMES, OutcomeRecord, [end], [stage, clip_id])
            continue
        with ShardWriter(
            store.files, stage, layout.shard_name([keys[stage]]), type(record), rows=1, metadata={}
        ) as writer:
            writer.add(keys[stage], clip_id, record)
            writer.commit()
    row = ClipRecord(
        clip_id=clip_id,
        recipe="0" * 32,
        video=str(video),
        video_digest=media[0].digest,
        reference=str(picture) if reference else None,
        reference_digest=media[1].digest if reference else None,
        prompt=prompt,
        fps=fps,
        frames=FRAMES,
        frames_4n1=FRAMES,
        width=WIDTH,
        height=HEIGHT,
        source_fps=fps,
        keys=keys,
        created_ns=1,
    )
    store.write_rows(layout.CLIPS, ClipRecord, [row], ["clip", clip_id])
    store.refresh()
    return store


def _media(path: Path, kind: str) -> MediaRecord:
    status = os.stat(path)
    return look(str(path), kind, status.st_size, status.st_mtime_ns)

"""Importer `wan22`: reads what `export --to wan22` wrote, or the official preprocessing, or another tool like it.

Our own tables give records back to the bit. Without them the videos give what pictures can: masks, face crops, the
clip's length and rate, the reference. Points cannot be had from pictures of them, nor the driving video from its
skeleton.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from schemas import ClipRecord, FaceCropsRecord, MediaRecord, ReplaceMaskRecord
from schemas.blocks import compress, pack_bits
from schemas.pictures import encode_picture
from schemas.replace_mask import NOBODY, OWN
from wanprep.errors import MediaError, WanprepError
from wanprep.export.frame_table import BadTable, read_frame_table
from wanprep.export.importer import Found, ReadClip
from wanprep.export.wan22_files import (
    BACKGROUND,
    FACE,
    FACE_SIDE,
    LAYOUTS,
    MANIFEST,
    MASK,
    POSE,
    REFERENCE,
    TABLES,
)
from wanprep.key import file_digest
from wanprep.media.video import read_windows
from wanprep.media.window import Window
from wanprep.scan import look
from wanprep.spool import ArraySpool, BlockSpool

_MANIFEST_BYTES = 4 << 20
_PROMPT_CHARS = 64 << 10
_HALF = 128  # of 255: masks come through lossy video
_DARK = 24  # of 255: no face is as dark all over, and a black picture is a face that was not found


def import_folder(folder: Path, scratch: Path) -> ReadClip | None:
    """What is in a clip's folder; None when it has no src_pose.mp4.

    Raises:
        WanprepError: src_pose.mp4 is no video.
    """
    if not _is_file(folder / POSE):
        return None
    video = _media(folder / POSE, "video")
    if video.error or not video.frames or not video.fps:
        raise WanprepError(f"{folder / POSE}: {video.error or 'has no frames'}")
    found = ReadClip(video, _reference(folder), _prompt(folder))
    if found.reference is None:
        found.lacking["reference"] = f"there is no {REFERENCE}, or it is no picture"
    for stage, name in TABLES.items():
        if _is_file(folder / name):
            try:
                record = read_frame_table(folder / name, LAYOUTS[stage], scratch)
                _check_frames(name, record.frames, video)  # type: ignore[attr-defined]
                found.records[stage] = Found(record, {name: file_digest(str(folder / name))})
            except BadTable as error:
                found.lacking[stage] = str(error)
    if "skeleton" not in found.records:
        found.lacking.setdefault(
            "skeleton", f"there is no {TABLES['skeleton']}: points cannot be had from {POSE}"
        )
    _try(found, "face_crops", folder / FACE, lambda media: _faces(media, scratch))
    if _is_file(folder / MASK) or _is_file(folder / BACKGROUND):
        _try(found, "replace_mask", folder / MASK, lambda media: _masks(media, scratch))
    return found


def _try(
    found: ReadClip,
    stage: str,
    path: Path,
    read: Callable[[MediaRecord], FaceCropsRecord | ReplaceMaskRecord],
) -> None:
    """Reads a record from a video, unless a table gave it."""
    if stage in found.records:
        return
    if not _is_file(path):
        found.lacking.setdefault(stage, f"there is no {path.name}")
        return
    media = _media(path, "video")
    try:
        if media.error or not media.frames:
            raise MediaError(media.error or "has no frames")
        _check_frames(path.name, media.frames, found.video)
        found.records[stage] = Found(read(media), {path.name: media.digest})
        found.lacking.pop(stage, None)
    except WanprepError as error:
        found.lacking.setdefault(stage, f"{path.name}: {error}")


def _check_frames(name: str, frames: int, video: MediaRecord) -> None:
    if frames != video.frames:
        raise BadTable(f"{name}: has {frames} frames and {POSE} {video.frames}")


def _masks(media: MediaRecord, scratch: Path) -> ReplaceMaskRecord:
    blocks, coverage = BlockSpool(scratch), ArraySpool(np.float32, (), scratch)
    for window in _windows(media):
        for mask_HW in window.gray_THW() >= _HALF:
            blocks.add(compress(pack_bits(mask_HW)))
            coverage.append([mask_HW.mean()])
    coverage_T = np.asarray(coverage)
    source_T = np.where(coverage_T > 0, OWN, NOBODY).astype(np.uint8)
    return ReplaceMaskRecord(
        backend=MASK,
        compat="official",
        iterations=0,  # of ours: whatever was done to it was done before
        kernel=1,
        w_len=1,
        h_len=1,
        frames=len(coverage_T),
        width=media.width or 0,
        height=media.height or 0,
        blocks=blocks.blocks,
        offsets_T=blocks.offsets_T,
        source_T=source_T,
        coverage_T=coverage_T,
        mean_coverage=float(coverage_T.mean()),
        frames_filled=0,
        frames_empty=int((source_T == NOBODY).sum()),
    )


def _faces(media: MediaRecord, scratch: Path) -> FaceCropsRecord:
    """Crops as the video shows them. Where they were cut out is not known: their boxes are the whole picture."""
    blocks, sharpness = BlockSpool(scratch), ArraySpool(np.float32, (), scratch)
    valid = []
    for window in _windows(media):
        for crop_HWC in window.rgb_THWC((FACE_SIDE, FACE_SIDE)):
            blocks.add(encode_picture(crop_HWC, "webp-lossless"))
            grey_HW = cv2.cvtColor(crop_HWC, cv2.COLOR_RGB2GRAY)
            laplacian_HW = cv2.Laplacian(grey_HW, cv2.CV_16S)
            sharpness.append([cv2.norm(laplacian_HW, cv2.NORM_L2SQR) / laplacian_HW.size])
            valid.append(bool(grey_HW.max() > _DARK))
    valid_T, sharpness_T = np.array(valid), np.asarray(sharpness)
    box_C = np.array([0, 0, media.width or FACE_SIDE, media.height or FACE_SIDE], np.float32)
    return FaceCropsRecord(
        compat="official",
        codec="webp-lossless",
        size=FACE_SIDE,
        frames=len(valid_T),
        width=media.width or FACE_SIDE,
        height=media.height or FACE_SIDE,
        blocks=blocks.blocks,
        offsets_T=blocks.offsets_T,
        boxes_TC=np.tile(box_C, (len(valid_T), 1)),
        valid_T=valid_T,
        filled_T=~valid_T,
        sharpness_T=sharpness_T,
        face_share=float(valid_T.mean()),
        mean_sharpness=float(sharpness_T[valid_T].mean()) if valid_T.any() else 0.0,
    )


def _windows(media: MediaRecord) -> Iterator[Window]:
    row = ClipRecord(clip_id="import", recipe="", fps=media.fps, frames=media.frames or 0)
    return read_windows(row, media)


def _media(path: Path, kind: str) -> MediaRecord:
    status = path.stat()
    return look(os.path.abspath(path), kind, status.st_size, status.st_mtime_ns)


def _reference(folder: Path) -> MediaRecord | None:
    if not _is_file(folder / REFERENCE):
        return None
    media = _media(folder / REFERENCE, "image")
    return None if media.error else media


def _prompt(folder: Path) -> str | None:
    """The prompt that our manifest tells; a foreign or damaged one tells none."""
    path = folder / MANIFEST
    try:
        if not _is_file(path) or path.stat().st_size > _MANIFEST_BYTES:
            return None
        manifest: Any = json.loads(path.read_bytes())
        prompt = manifest["made_from"]["clip"]["prompt"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    taken = isinstance(prompt, str) and len(prompt) <= _PROMPT_CHARS and "\0" not in prompt
    return prompt if taken else None


def _is_file(path: Path) -> bool:
    """Whether it is a regular file and no link: a folder from elsewhere must not lead out of itself."""
    return path.is_file() and not path.is_symlink()

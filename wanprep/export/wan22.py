"""Exporter `wan22`: the folder that Wan2.2-Animate's official generator reads, and diffusers, LightX2V and ComfyUI."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import cv2
from pydantic import Field

from wanprep.animate.replacement_ground import ground_THWC, video_at_size_THWC
from wanprep.animate.resize import model_size
from wanprep.errors import MediaError
from wanprep.export.exporter import Exporter, ExportOptions, NotExportable, Written
from wanprep.export.frame_table import write_frame_table
from wanprep.export.video_file import VideoFile
from wanprep.export.wan22_face import CutFaces, StoredFaces
from wanprep.export.wan22_files import (
    BACKGROUND,
    FACE,
    FACE_SIDE,
    FPS,
    LAYOUTS,
    MASK,
    MULTIPLE,
    POSE,
    REFERENCE,
    TABLES,
)
from wanprep.export.wan22_ground import DilatedMask, StoredReplacement, grey_THWC
from wanprep.export.wan22_pose import DrivingPose, RetargetedPose
from wanprep.media.geometry import Size
from wanprep.media.image import RGB, read_image
from wanprep.media.video import read_windows
from wanprep.media.window import Window
from wanprep.store.clip import StoredClip
from wanprep.store.store import Store

Pose: TypeAlias = RetargetedPose | DrivingPose
Faces: TypeAlias = StoredFaces | CutFaces
Ground: TypeAlias = StoredReplacement | DilatedMask

_CHUNK = 8  # frames drawn at a time where no window of the video says how many
_WINDOW_BYTES = 16 << 20  # of decoded frames at a time: their pictures and backgrounds take ten times as much
_DEFAULT_AREA = 1280 * 720  # pixels: the official preprocessing's


class Wan22Options(ExportOptions):
    """What of a clip is written, and how large."""

    mode: Literal["auto", "animate", "replace"] = Field(
        default="auto",
        description="animate: the reference moves like the driving person. replace: the driving person becomes the "
        "reference. auto: replace when the clip's recipe has replace_mask.",
    )
    area: int = Field(
        default=_DEFAULT_AREA,
        ge=1024,
        le=8192**2,
        description="Pixels of the pictures, where no artifact (retarget, replace_mask) has settled their size.",
    )


class Wan22(Exporter[Wan22Options]):
    """src_pose.mp4, src_face.mp4, src_ref.png; for replacement src_bg.mp4 and src_mask.mp4; and the records that they
    were drawn from, lossless."""

    name: ClassVar[str] = "wan22"
    version: ClassVar[int] = 1
    Options: ClassVar[type[ExportOptions]] = Wan22Options

    def write(self, store: Store, clip: StoredClip, folder: Path, shown: Callable[[int], None]) -> Written:
        row = clip.record
        if row.why_not:
            raise NotExportable(row.why_not)
        if not row.frames or not row.fps or not row.width or not row.height:
            raise NotExportable("has no video to take a motion from")
        if row.reference is None:
            raise NotExportable("has no reference picture")
        reference_HWC = read_image(row.reference)
        replaces = self.options.mode == "replace" or (
            self.options.mode == "auto" and "replace_mask" in row.keys
        )
        ground = self._ground(clip) if replaces else None
        pose = self._pose(clip, reference_HWC, ground)
        faces = _faces(clip)
        sources: list[Pose | Faces | Ground] = [pose, faces, *([ground] if ground else [])]
        for source in sources:
            if source.frames != row.frames:
                raise NotExportable(f"{source.source} has {source.frames} frames and the clip {row.frames}")
        # OpenCV's is the writer whose PNG every reader has been tried with; no profile, no orientation.
        if not cv2.imwrite(str(folder / REFERENCE), cv2.cvtColor(reference_HWC, cv2.COLOR_RGB2BGR)):
            raise OSError(f"{REFERENCE} could not be written")
        _write_videos(store, clip, folder, pose, faces, ground, shown)
        tables = _write_tables(clip, folder)
        facts: dict[str, Any] = {
            "mode": "replace" if ground else "animate",
            "size": list(pose.size),
            "fps": row.fps,
            "frames": row.frames,
            "drawn_from": {
                "pose": pose.source,
                "face": faces.source,
                "mask": ground.source if ground else None,
            },
            "faces_filled": faces.filled,
            "tables": tables,
            "notes": _notes(row.fps, faces),
        }
        return Written(row.frames, facts)

    def _ground(self, clip: StoredClip) -> Ground:
        if "replace_mask" in clip.record.keys:
            return StoredReplacement(clip.replace_mask)
        video = (clip.record.width or 0, clip.record.height or 0)
        return DilatedMask(clip.mask, video, model_size(*video, self.options.area, MULTIPLE))

    def _pose(self, clip: StoredClip, reference_HWC: RGB, ground: Ground | None) -> Pose:
        if ground is not None:
            return DrivingPose(clip.skeleton, ground.size)
        if "retarget" in clip.record.keys:
            return RetargetedPose(clip.retarget)
        height, width = reference_HWC.shape[:2]
        return DrivingPose(clip.skeleton, model_size(width, height, self.options.area, MULTIPLE))


def _faces(clip: StoredClip) -> Faces:
    if "face_crops" in clip.record.keys:
        return StoredFaces(clip.face_crops)
    if "face" in clip.record.keys:
        return CutFaces.of_faces(clip.face)
    return CutFaces.of_skeleton(clip.skeleton)


def _write_videos(
    store: Store,
    clip: StoredClip,
    folder: Path,
    pose: Pose,
    faces: Faces,
    ground: Ground | None,
    shown: Callable[[int], None],
) -> None:
    fps = clip.record.fps or FPS
    with ExitStack() as stack:

        def video(name: str, size: Size, exact: bool = False) -> VideoFile:
            return stack.enter_context(VideoFile(folder / name, size, fps, exact=exact))

        pose_file = video(POSE, pose.size)
        face_file = video(FACE, (FACE_SIDE, FACE_SIDE))
        ground_file = video(BACKGROUND, pose.size) if ground else None
        mask_file = video(MASK, pose.size, exact=True) if ground else None
        for start, stop, window in _pieces(store, clip, faces.needs_video or ground is not None):
            pose_file.add(pose.pictures_THWC(start, stop))
            face_file.add(faces.pictures_THWC(start, stop, window))
            if ground and ground_file and mask_file:
                assert window is not None
                masks_THW = ground.masks_THW(start, stop)
                mask_file.add(grey_THWC(masks_THW))
                video_THWC = video_at_size_THWC(window, (masks_THW.shape[2], masks_THW.shape[1]))
                ground_file.add(ground_THWC(video_THWC, masks_THW))
            shown(stop - start)


def _pieces(store: Store, clip: StoredClip, decode: bool) -> Iterator[tuple[int, int, Window | None]]:
    """Start and stop (exclusive) of pieces in order, with their frames where the video has to be decoded."""
    row = clip.record
    if not decode:
        for start in range(0, row.frames, _CHUNK):
            yield start, min(start + _CHUNK, row.frames), None
        return
    media = store.media_records().get(row.video or "")
    if media is None:
        raise NotExportable(f"the store does not know {row.video}")
    try:
        one = (media.width or 0) * (media.height or 0) * 3 // 2
        for window in read_windows(row, media, budget=max(one, _WINDOW_BYTES)):
            yield window.start, window.start + window.count, window
    except MediaError as error:
        raise MediaError(f"{row.video}: {error}") from error


def _write_tables(clip: StoredClip, folder: Path) -> list[str]:
    """The lossless records that the clip has; names of the stages."""
    written = []
    for stage, name in TABLES.items():
        record = clip.get(stage)
        if record is not None:
            write_frame_table(folder / name, record, LAYOUTS[stage], clip.record.fps or FPS)
            written.append(stage)
    return written


def _notes(fps: float, faces: Faces) -> list[str]:
    notes = []
    if abs(fps - FPS) > 0.01:
        notes.append(
            f"the clip has {fps:g} frames a second, and the official generator saves its video at {FPS:g}: take "
            f"timeline.fps={FPS:g}, or set the generator's rate"
        )
    if faces.filled:
        notes.append(
            f"{faces.filled} of {faces.frames} frames show no face: their box comes from those around"
        )
    return notes

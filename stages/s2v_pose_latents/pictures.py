"""The pose pictures of a clip at 16 frames a second, one after the other: never all in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from schemas import SkeletonRecord
from stages.person.poses import PointsKind, poses
from wanprep.animate.compat import Compat
from wanprep.animate.pictures import skeleton_picture
from wanprep.media.geometry import Size
from wanprep.media.image import RGB
from wanprep.media.speech_frames import VIDEO_RATE, Indices, video_frame_indices
from wanprep.media.video import read_windows
from wanprep.stage import ClipContext
from wanprep.timeline import Timeline, frame_count


def at_video_rate(frames: int, fps: float, compat: Compat) -> Indices:
    """Which of `frames` at `fps` stand for the frames at 16 a second, int64, in order.

    "robust": the frame on screen at each instant, as many as the frames last. "official": every n-th frame, n being
    the rates' quotient rounded, so that motion of other rates plays faster or slower: of 24 a second at 4/3 its speed.
    """
    if compat == "official":
        return video_frame_indices(frames, fps, frames)
    timeline = Timeline(VIDEO_RATE, frame_count(frames / fps, VIDEO_RATE))
    instants = np.array([timeline.instant(index) for index in range(timeline.frames)])
    return np.clip((instants * fps).astype(np.int64), 0, frames - 1)


def video_pictures(context: ClipContext, compat: Compat) -> tuple[int, Iterator[RGB]]:
    """How many pictures the clip's video gives, and these, uint8 [H,W,3] of the video's size. The clip has a video.

    Raises:
        MediaError: the video does not decode; raised while the pictures are read.
    """
    clip, media = context.clip, context.media["video"]
    start, end = clip.start, clip.end if clip.end is not None else media.seconds or 0.0
    if compat == "robust":
        count = (
            clip.frames if clip.frames and clip.fps == VIDEO_RATE else frame_count(end - start, VIDEO_RATE)
        )
        return count, _decoded(context, VIDEO_RATE, count, 1)
    fps = media.fps or VIDEO_RATE
    frames = frame_count(end - start, fps)
    taken = at_video_rate(frames, fps, compat)
    step = int(taken[1]) if len(taken) > 1 else 1
    return len(taken), _decoded(context, fps, int(taken[-1]) + 1, step)


def _decoded(context: ClipContext, fps: float, frames: int, step: int) -> Iterator[RGB]:
    """Every `step`-th of the clip's first `frames` frames at `fps`."""
    clip = replace(context.clip, fps=fps, frames=frames)
    for window in read_windows(clip, context.media["video"], timings=context.timings):
        yield from window.rgb_THWC()[-window.start % step :: step]


def skeleton_pictures(
    skeleton: SkeletonRecord, fps: float, size: Size, points: PointsKind, compat: Compat
) -> tuple[int, Iterator[RGB]]:
    """How many pictures a stored skeleton gives, and these, uint8 [H,W,3].

    "robust" draws them at `size`, "official" at the video's own size, as a rendered video would have them.

    Args:
        fps: frames a second of the skeleton.
        size: width and height of the drawing, in the video's aspect.

    Raises:
        OfficialFailure: as `poses` does; raised while the pictures are read.
    """
    taken = at_video_rate(skeleton.frames, fps, compat)
    return len(taken), _drawn(skeleton, taken, size, points, compat)


def _drawn(
    skeleton: SkeletonRecord, taken: Indices, size: Size, points: PointsKind, compat: Compat
) -> Iterator[RGB]:
    canvas = size if compat == "robust" else None
    done = seen = 0
    for pose in poses(skeleton, points, compat):
        while done < len(taken) and taken[done] < seen + len(pose):
            picture_HWC = skeleton_picture(pose, int(taken[done]) - seen, canvas, compat)
            # A skeleton of a lower rate shows a frame twice.
            again = int(np.searchsorted(taken, taken[done], side="right"))
            for _ in range(again - done):
                yield picture_HWC
            done = again
        seen += len(pose)

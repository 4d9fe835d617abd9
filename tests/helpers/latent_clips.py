"""Runs latent stages on drawn frames."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from helpers.pictures import moved, texture
from schemas import ClipRecord, LatentsRecord
from stages.latents import ReferenceLatents, VideoLatents
from stages.latents.reference import ReferenceLatentsConfig
from stages.latents.video import VideoLatentsConfig
from wanprep.media.window import Window
from wanprep.stage import ClipContext, Skipped

Frames = npt.NDArray[np.uint8]
WIDTH, HEIGHT = 96, 64


def moving_THWC(frames: int, width: int = WIDTH, height: int = HEIGHT) -> Frames:
    """A textured picture in colour that drifts."""
    planes = [texture(seed, width, height) for seed in range(3)]
    return np.stack(
        [
            np.stack([moved(plane, 0.7 * index, 0.2 * index) for plane in planes], -1)
            for index in range(frames)
        ]
    )


def windows(frames_THWC: Frames, cuts: Iterable[int] = ()) -> Iterable[Window]:
    height, width = frames_THWC.shape[1:3]
    for start, stop in pairwise(sorted({0, len(frames_THWC), *cuts})):
        pictures = [av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in frames_THWC[start:stop]]
        yield Window(start, pictures, width=width, height=height)


def video_latents(
    folder: Path, frames_THWC: Frames, cuts: Iterable[int] = (), **config: object
) -> LatentsRecord | Skipped:
    """What the stage makes of these frames, coded at their own size unless `size` is given."""
    height, width = frames_THWC.shape[1:3]
    config.setdefault("size", {"width": width, "height": height})
    stage = VideoLatents(VideoLatentsConfig.model_validate(config))
    stage.setup()
    clip = ClipRecord(
        clip_id="clip", recipe="recipe", frames=len(frames_THWC), width=width, height=height, fps=25.0
    )
    fold = stage.begin(ClipContext(clip, {}, folder), {})
    for window in windows(frames_THWC, cuts):
        fold.add(window)
    made = fold.finish({})
    assert isinstance(made, LatentsRecord | Skipped)
    return made


def video_record(
    folder: Path, frames_THWC: Frames, cuts: Iterable[int] = (), **config: object
) -> LatentsRecord:
    made = video_latents(folder, frames_THWC, cuts, **config)
    assert isinstance(made, LatentsRecord)
    return made


def reference_latents(
    folder: Path, reference: Path | None, *, video: tuple[int, int] | None = None, **config: object
) -> LatentsRecord | Skipped:
    stage = ReferenceLatents(ReferenceLatentsConfig.model_validate(config))
    stage.setup()
    width, height = video or (None, None)
    clip = ClipRecord(
        clip_id="clip",
        recipe="recipe",
        reference=str(reference) if reference else None,
        width=width,
        height=height,
    )
    made = stage.run(ClipContext(clip, {}, folder), {})
    assert isinstance(made, LatentsRecord | Skipped)
    return made


def reference_record(folder: Path, reference: Path, **config: object) -> LatentsRecord:
    made = reference_latents(folder, reference, **config)  # type: ignore[arg-type]
    assert isinstance(made, LatentsRecord)
    return made

"""Where SAM2 is told to look for the person: chunks of frames, and points on the body in a few of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wanprep.animate.compat import Compat
from wanprep.media.geometry import Size
from wanprep.media.wan_body import BODY_POINT_NAMES

CHUNK_FRAMES = 400
_KEY_FRAMES = 4
# Body points that are given to SAM2, in the official order.
PROMPT_POINTS = np.array(
    [
        BODY_POINT_NAMES.index(name)
        for name in (
            "nose",
            "neck",
            "right_shoulder",
            "left_shoulder",
            "right_hip",
            "left_hip",
            "right_ankle",
            "left_ankle",
        )
    ]
)
_CONFIDENCE = 0.5  # as for drawing a point


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Points on the person in one frame."""

    frame: int  # of the chunk, from 0
    points_KC: npt.NDArray[np.int32]  # [K,2] x, y in pixels
    labels_K: npt.NDArray[np.int32]  # 1: on the person


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Frames that SAM2 follows the person through in one go."""

    start: int  # frame of the clip
    frames: int
    carried: int  # first frames that the chunk before has masked: its masks are given with the prompts
    prompts: tuple[Prompt, ...]


def key_frames(frames: int) -> range:
    """Frames of a chunk that have prompts: every fourth part of it, one alone up to four frames (official rule)."""
    return range(0, frames, frames // _KEY_FRAMES if frames > _KEY_FRAMES else frames)


def sam_chunks(
    body_TKC: npt.NDArray[np.floating[Any]],
    size: Size,
    chunk: int = CHUNK_FRAMES,
    compat: Compat = "robust",
) -> list[Chunk]:
    """The chunks of a clip with their prompts.

    Under "official" every chunk starts anew, and points are given whatever their confidence, off the frame too.
    Under "robust" a chunk begins with the last frame of the one before, so that its mask carries on; points have
    confidence 0.5 and lie in the frame; a key frame without one has no prompt, and a chunk that carries no mask and
    would have none at all is prompted at its first frame with points.

    Args:
        body_TKC: [T,20,2 or 3], x and y as fractions of the frame, confidence ("robust" needs it).
        size: width, height of the frames, pixels.

    Raises:
        ValueError: no frames; a chunk of fewer than two frames; "robust" without confidence.
    """
    if not len(body_TKC) or chunk < 2:
        raise ValueError(
            f"{len(body_TKC)} frames in chunks of {chunk}: pass a frame and chunks of two or more"
        )
    if compat == "robust" and body_TKC.shape[2] < 3:
        raise ValueError("body_TKC has no confidence: pass x, y, confidence")
    points_TKC = body_TKC[:, PROMPT_POINTS]
    with np.errstate(
        invalid="ignore"
    ):  # not finite: left out below, or the official code's own undefined number
        pixels_TKC = (points_TKC[..., :2] * np.array(size)).astype(np.int32)
    given_TK = np.ones(pixels_TKC.shape[:2], bool)
    carried = 0
    if compat == "robust":
        inside_TKC = (points_TKC[..., :2] >= 0) & (points_TKC[..., :2] < 1)
        given_TK = inside_TKC.all(axis=-1) & (points_TKC[..., 2] >= _CONFIDENCE)
        carried = 1
    chunks = []
    for begin in range(0, max(len(body_TKC) - carried, 1), chunk - carried):
        frames = min(chunk, len(body_TKC) - begin)
        over = carried if begin else 0
        keys = _keys(given_TK[begin : begin + frames], over)
        prompts = tuple(_prompt(key, pixels_TKC[begin + key][given_TK[begin + key]]) for key in keys)
        chunks.append(Chunk(begin, frames, over, prompts))
    return chunks


def _keys(given_TK: npt.NDArray[np.bool_], carried: int) -> list[int]:
    any_T = given_TK.any(axis=1)
    keys = [key for key in key_frames(len(any_T)) if any_T[key]]
    if not keys and not carried and any_T.any():
        return [int(any_T.argmax())]
    return keys


def _prompt(frame: int, points_KC: npt.NDArray[np.int32]) -> Prompt:
    return Prompt(frame, points_KC, np.ones(len(points_KC), np.int32))

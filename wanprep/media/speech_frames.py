"""From wav2vec 2.0 steps to video frames, and from sound to generation clips, as Wan2.2-S2V counts them.

The rules are those of the Wan2.2 official code. NumPy only: the generator needs them as much as the encoder.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]

SAMPLE_RATE = 16_000  # Hz
STEP_RATE = 50.0  # wav2vec 2.0 steps a second, nominally: the convolutions lose one at the end
STATES_RATE = 30.0  # frames a second of the states that buckets are picked from
VIDEO_RATE = 16.0  # frames a second that Wan2.2-S2V makes
FRAMES_PER_CLIP = 80
MOTION_FRAMES = 73  # pixel frames of history that a clip continues from
_LOST_FRAMES = 3  # that the first clip lacks when its motion history is dropped

#: Kernel and stride of wav2vec 2.0's convolutions over samples (Baevski et al., 2020, 4.2).
CONVOLUTIONS = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))


def encoder_steps(samples: int) -> int:
    """Steps that wav2vec 2.0 makes of a number of 16 kHz samples; 0 below 400 samples."""
    for kernel, stride in CONVOLUTIONS:
        samples = (samples - kernel) // stride + 1 if samples >= kernel else 0
    return samples


def least_samples(steps: int) -> int:
    """The fewest samples of which wav2vec 2.0 makes `steps` (1 or more) steps."""
    for kernel, stride in reversed(CONVOLUTIONS):
        steps = (steps - 1) * stride + kernel
    return steps


def interpolated_length(steps: int, source_rate: float = STEP_RATE, target_rate: float = STATES_RATE) -> int:
    """Frames at `target_rate` that `steps` at `source_rate` become: the time's length, cut to whole frames."""
    return int(steps / float(source_rate) * target_rate)


@dataclass(frozen=True, slots=True)
class Interpolation:
    """Where each output frame lies between two steps: output = lower * (1 - weight) + upper * weight.

    First and last frame fall on the first and last step ("align corners"), so a frame is not exactly at its
    time. Positions are float32, as in the reference: in ten minutes they are off by a thousandth of a step.
    """

    lower_T: Indices
    upper_T: Indices
    weight_T: npt.NDArray[np.float32]  # 0 to 1

    @classmethod
    def between(cls, steps: int, length: int) -> Interpolation:
        """`length` frames over `steps` (1 or more) steps; a single frame takes the first step."""
        scale = np.float32(steps - 1) / np.float32(length - 1) if length > 1 else np.float32(0)
        position_T = scale * np.arange(length, dtype=np.float32)
        lower_T = np.minimum(position_T.astype(np.int64), steps - 1)
        weight_T = np.clip(position_T - lower_T.astype(np.float32), 0, 1).astype(np.float32)
        return cls(lower_T, np.minimum(lower_T + 1, steps - 1), weight_T)

    def of(self, states_TLC: Array, frames: slice, first_step: int = 0) -> npt.NDArray[np.float32]:
        """The given frames, of states whose first row is step `first_step` and that hold all steps needed."""
        weight_T = self.weight_T[frames].reshape(-1, *(1,) * (states_TLC.ndim - 1))
        lower_TLC = states_TLC[self.lower_T[frames] - first_step].astype(np.float32)
        upper_TLC = states_TLC[self.upper_T[frames] - first_step].astype(np.float32)
        return np.asarray((1 - weight_T) * lower_TLC + weight_T * upper_TLC, np.float32)


def interpolate_TLC(
    states_TLC: Array,
    source_rate: float = STEP_RATE,
    target_rate: float = STATES_RATE,
    length: int | None = None,
) -> npt.NDArray[np.float32]:
    """States [steps, layers, channels] interpolated linearly to `length` frames, else to as many as last as long.

    float32 [frames, layers, channels]; no frames for no steps.
    """
    steps = len(states_TLC)
    wanted = interpolated_length(steps, source_rate, target_rate) if length is None else length
    if not steps or wanted <= 0:
        return np.zeros((0, *states_TLC.shape[1:]), np.float32)
    return Interpolation.between(steps, wanted).of(states_TLC, slice(None))


def interpolate_blocks(blocks: Iterable[Array], steps: int, length: int) -> Iterator[npt.NDArray[np.float32]]:
    """`interpolate_TLC` of states that come in blocks, in order, `steps` of them in all; equal to the whole."""
    if not steps or length <= 0:
        return
    interpolation = Interpolation.between(steps, length)
    held: Array | None = None  # the last step of the block before
    reached = given = 0
    for block in blocks:
        if not len(block):
            continue
        rows = block if held is None else np.concatenate([held, block])
        first_step = reached - (held is not None)
        reached += len(block)
        # Positions grow, so that the frames whose upper step has come are the next ones.
        ready = int(np.searchsorted(interpolation.upper_T, reached, side="left"))
        if ready > given:
            yield interpolation.of(rows, slice(given, ready), first_step)
            given = ready
        held = rows[-1:].copy()


def sample_indices(count: int, source_rate: float, target_rate: float, total: int, start: int = 0) -> Indices:
    """Which of `total` frames at `source_rate` stand for `count` frames at `target_rate`, from frame `start` on.

    int64 [count]: the frame nearest in time, halves to the even one, never beyond the last.
    """
    first = start / source_rate
    # Times by linspace, as in the reference: its rounding decides ties at rates such as 24.
    time_T = np.linspace(first, first + count / target_rate, count, endpoint=False)
    return np.asarray(np.clip(np.rint(time_T * source_rate), 0, total - 1), np.int64)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Which state frames each video frame of all clips takes."""

    clips: int
    frames_per_clip: int
    indices_TN: Indices  # [clips * frames_per_clip, 2 * neighbours + 1], within the states
    sounding_T: npt.NDArray[np.bool_]  # False where the sound has ended: zeros

    def of(self, states_TLC: Array, frames: slice = slice(None)) -> Array:
        """Video frames [frames, layers, channels * (2 * neighbours + 1)], of the states' own dtype.

        Only the states that these frames take are read.
        """
        indices_TN, sounding_T = self.indices_TN[frames], self.sounding_T[frames]
        layers, channels = states_TLC.shape[1:]
        bucket_TNLC = np.zeros((*indices_TN.shape, layers, channels), states_TLC.dtype)
        if sounding_T.any():
            taken = indices_TN[sounding_T]
            first, last = int(taken.min()), int(taken.max())
            bucket_TNLC[sounding_T] = states_TLC[first : last + 1][taken - first]
        flat = (len(indices_TN), layers, indices_TN.shape[1] * channels)
        return np.ascontiguousarray(bucket_TNLC.transpose(0, 2, 1, 3)).reshape(flat)


def bucket(
    length: int,
    fps: float = VIDEO_RATE,
    frames_per_clip: int = FRAMES_PER_CLIP,
    neighbours: int = 0,
    states_rate: float = STATES_RATE,
) -> Bucket:
    """The frames of all clips that `length` state frames fill; the last clip is filled up with zeros.

    `neighbours` state frames on each side are put beside each one, held at the sound's ends. Sound that ends
    exactly with a clip begins one more, of zeros alone.
    """
    clips = int(length / (frames_per_clip * (states_rate / fps))) + 1
    count = clips * frames_per_clip
    padded = math.ceil(count / fps * states_rate)
    middle_T = sample_indices(count, states_rate, fps, padded)
    stride = int(states_rate / fps)
    beside_N = np.arange(-neighbours, neighbours + 1) * stride
    indices_TN = np.clip(middle_T[:, None] + beside_N, 0, max(0, length - 1))
    return Bucket(clips, frames_per_clip, indices_TN, middle_T < length)


def bucket_TLC(
    states_TLC: Array,
    fps: float = VIDEO_RATE,
    frames_per_clip: int = FRAMES_PER_CLIP,
    neighbours: int = 0,
    states_rate: float = STATES_RATE,
) -> Array:
    """States [frames, layers, channels] by video frame: [clips * frames_per_clip, layers, channels * (2n + 1)]."""
    return bucket(len(states_TLC), fps, frames_per_clip, neighbours, states_rate).of(states_TLC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPlan:
    """How Wan2.2-S2V divides a sound into clips."""

    features: int  # state frames at 30 fps
    available_clips: int  # that the sound fills, the last one in part or not at all
    clips: int  # to generate
    latent_frames_per_clip: int
    video_frames: int  # of all clips together
    bucket_frames: int  # video frames that have states, those of clips not generated included

    @property
    def video_seconds(self) -> float:
        return self.video_frames / VIDEO_RATE


def clip_plan(
    samples: int,
    *,
    frames_per_clip: int = FRAMES_PER_CLIP,
    most_clips: int | None = None,
    start_from_reference: bool = False,
    motion_frames: int = MOTION_FRAMES,
) -> ClipPlan:
    """Clips and frames for a number of 16 kHz samples.

    Args:
        samples: of the mono sound.
        frames_per_clip: video frames a clip, a multiple of 4.
        most_clips: fewer than the sound fills, if wanted; more changes nothing.
        start_from_reference: the first frame continues from the reference picture; otherwise the first clip
            drops its motion history and is 3 frames shorter.
        motion_frames: pixel frames of history.
    """
    features = interpolated_length(encoder_steps(samples))
    available = bucket(features, frames_per_clip=frames_per_clip).clips
    clips = available if most_clips is None else min(most_clips, available)
    history = (motion_frames + 3) // 4
    return ClipPlan(
        features=features,
        available_clips=available,
        clips=clips,
        latent_frames_per_clip=(frames_per_clip + 3 + motion_frames) // 4 - history,
        video_frames=clips * frames_per_clip - (0 if start_from_reference else _LOST_FRAMES),
        bucket_frames=available * frames_per_clip,
    )


def video_frame_indices(
    source_frames: int, source_rate: float, count: int, target_rate: float = VIDEO_RATE, *, last: bool = False
) -> Indices:
    """Which frames of a pose video, or the last ones of a video before, are read: int64, at most `count`.

    Every n-th frame, n being the rates' quotient rounded (halves to even), 1 at least: motion of a source whose
    rate is no multiple of the target's plays faster or slower.
    """
    step = max(1, round(source_rate / target_rate))
    start = max(0, source_frames - 1 - (count - 1) * step) if last else 0
    return np.arange(start, source_frames, step, dtype=np.int64)[: max(0, count)]

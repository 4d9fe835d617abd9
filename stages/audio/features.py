"""Sound features that need no weights: one pass over the sound, and what is made of it afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.audio.logmel import BANDS, WINDOW, LogMel, slopes
from stages.audio.steps import STEP_RATE, Samples, around_steps
from stages.audio.voicing import SPAN, voicing
from wanprep.spool import ArraySpool
from wanprep.stage import ClipContext

_SILENT_POWER = 1e-10  # -100 dB, under the noise of 16-bit samples
_SCALARS = ("rms_db", "voicing", "pitch_hz", "centroid_hz", "onset")
_BATCH = 500  # steps at a time: 10 s of sound
_HALO = 4  # rows on each side that the slope of a slope reaches

FEATURE_NAMES = [
    *(f"{kind}{band:02d}" for kind in ("mel", "mel_slope", "mel_bend") for band in range(BANDS)),
    *_SCALARS,
]


@dataclass(slots=True)
class Analysis:
    """One pass over the sound: what each step measures by itself."""

    mel_TC: ArraySpool  # float32 [steps, 80] natural log
    power_T: npt.NDArray[np.float32]  # mean square
    voicing_T: npt.NDArray[np.float32]
    pitch_T: npt.NDArray[np.float32]  # Hz
    centroid_T: npt.NDArray[np.float32]  # Hz
    samples: int


def analyse(context: ClipContext, blocks: Iterable[Samples], batch: int = _BATCH) -> Analysis:
    """Runs over the sound `batch` steps at a time; the batch bounds memory and changes nothing else.

    blocks: float32 [N] mono sound at 16 kHz, in order.
    """
    samples = 0

    def counted() -> Iterator[Samples]:
        nonlocal samples
        for block in blocks:
            samples += len(block)
            yield block

    log_mel = LogMel()
    mel_TC = context.spool(np.float32, BANDS)
    scalars: list[npt.NDArray[np.float32]] = []
    beside = (SPAN - WINDOW) // 2
    for pieces_TN in around_steps(counted(), SPAN // 2, batch):
        batch_mel_TC, centroid_T = log_mel(pieces_TN)
        mel_TC.append(batch_mel_TC)
        step_power_T = np.mean(np.square(pieces_TN[:, beside : beside + WINDOW], dtype=np.float64), axis=1)
        scalars.append(np.stack([step_power_T, *voicing(pieces_TN), centroid_T]).astype(np.float32))
    rows = np.concatenate(scalars, axis=1) if scalars else np.zeros((4, 0), np.float32)
    power_T, voicing_T, pitch_T, centroid_T = rows
    return Analysis(mel_TC, power_T, voicing_T, pitch_T, centroid_T, samples)


def assemble(
    context: ClipContext, analysis: Analysis, voiced_threshold: float
) -> tuple[ArraySpool, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """All features, float16 [steps, 245], and their mean and standard deviation over the clip."""
    count = len(analysis.mel_TC)
    features_TC = context.spool(np.float16, len(FEATURE_NAMES))
    total_C, squares_C = np.zeros(len(FEATURE_NAMES)), np.zeros(len(FEATURE_NAMES))
    loudness_T = decibels(analysis.power_T)
    pitch_T = np.where(analysis.voicing_T >= voiced_threshold, analysis.pitch_T, np.float32(0))
    for start in range(0, count, _BATCH):
        stop = min(start + _BATCH, count)
        below, above = max(0, start - _HALO), min(count, stop + _HALO)
        # The first and last row stand for the sound before and after.
        outside = (_HALO - (start - below), _HALO - (above - stop))
        rows_TC = np.pad(analysis.mel_TC[below:above], (outside, (0, 0)), mode="edge")
        mel_TC, slope_TC = rows_TC[_HALO:-_HALO], slopes(rows_TC)
        # Onset strength is spectral flux: how much the bands that grow have grown (Dixon, 2006).
        onset_T = np.maximum(mel_TC - rows_TC[_HALO - 1 : -_HALO - 1], 0).mean(axis=1)
        steps = slice(start, stop)
        scalars = (loudness_T, analysis.voicing_T, pitch_T, analysis.centroid_T)
        batch_TC = np.concatenate(
            [
                mel_TC,
                slope_TC[2:-2],
                slopes(slope_TC),
                *(row_T[steps, None] for row_T in scalars),
                onset_T[:, None],
            ],
            axis=1,
        )
        features_TC.append(batch_TC)
        total_C += batch_TC.sum(axis=0, dtype=np.float64)
        squares_C += np.square(batch_TC, dtype=np.float64).sum(axis=0)
    mean_C = total_C / count
    std_C = np.sqrt(np.maximum(squares_C / count - mean_C**2, 0))
    return features_TC, mean_C.astype(np.float32), std_C.astype(np.float32)


def decibels(power: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Decibels of full scale of mean squares; -100 for silence."""
    return np.asarray(10 * np.log10(np.maximum(power, _SILENT_POWER)), dtype=np.float32)


def per_frame(values_T: npt.NDArray[np.float32], frame_rate: float, frames: int) -> npt.NDArray[np.float64]:
    """Mean of step values over each video frame's time, at least a step long: float64 [frames]."""
    sums = np.concatenate([[0.0], np.cumsum(values_T, dtype=np.float64)])
    # In steps; step t stands for the time from t - 1/2 to t + 1/2.
    middle_T = np.arange(frames) * (STEP_RATE / frame_rate) + 0.5
    half = max(0.5, 0.5 * STEP_RATE / frame_rate)
    begin_T = np.clip(middle_T - half, 0, len(values_T) - 0.5)
    end_T = np.clip(middle_T + half, 0.5, len(values_T))
    places = np.arange(len(sums))
    sum_T = np.interp(end_T, places, sums) - np.interp(begin_T, places, sums)
    return np.asarray(sum_T / (end_T - begin_T), dtype=np.float64)

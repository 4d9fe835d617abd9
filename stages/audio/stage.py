"""Stage `audio`: sound features on a grid of 50 steps a second."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from schemas import AudioRecord, Record
from stages.audio.logmel import BANDS, WINDOW, LogMel, slopes
from stages.audio.steps import SAMPLE_RATE, STEP_RATE, Samples, around_steps
from stages.audio.voicing import SPAN, voicing
from wanprep.media.audio import read_audio
from wanprep.spool import ArraySpool
from wanprep.stage import ClipContext, Media, Resources, Skipped, Stage, StageConfig

_SILENT_POWER = 1e-10  # -100 dB, under the noise of 16-bit samples
_SCALARS = ("rms_db", "voicing", "pitch_hz", "centroid_hz", "onset")
_BATCH = 500  # steps at a time: 10 s of sound
_HALO = 4  # rows on each side that the slope of a slope reaches

FEATURE_NAMES = [
    *(f"{kind}{band:02d}" for kind in ("mel", "mel_slope", "mel_bend") for band in range(BANDS)),
    *_SCALARS,
]


class AudioConfig(StageConfig):
    """Which sound features are made."""

    backend: Literal["logmel"] = Field(
        default="logmel",
        description="logmel: 80 log-mel bands (Slaney scale) with slopes, loudness, voicing and pitch; needs "
        "no weights, and does not replace the wav2vec 2.0 states that Wan2.2-S2V was trained with.",
    )
    voiced_threshold: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="Steps with at least this voicing count as voiced. Lower counts breathy voice and takes "
        "in music and hum.",
    )
    voiced_db: float = Field(
        default=-50.0,
        le=0,
        description="Steps quieter than this (dB of full scale) never count as voiced. Lower hears far-off "
        "speech and takes in background hum.",
    )


class Audio(Stage[AudioConfig]):
    """Features of the clip's own sound file, or else of its video's sound."""

    name: ClassVar[str] = "audio"
    version: ClassVar[int] = 1
    record: ClassVar[type[Record]] = AudioRecord
    Config: ClassVar[type[StageConfig]] = AudioConfig
    reads: ClassVar[frozenset[Media]] = frozenset({Media.VIDEO, Media.AUDIO})
    resources: ClassVar[Resources] = Resources(cpus=1.0, memory=40 << 20)

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> AudioRecord | Skipped:
        source = _source(context)
        if source is None:
            return Skipped("no sound", 0.0)
        with closing(source):
            analysis = analyse(context, _timed(context, source))
        if not analysis.samples:
            return Skipped("the sound ends before the clip begins", 0.0)
        features_TC, mean_C, std_C = _assemble(context, analysis, self.config.voiced_threshold)
        clip = context.clip
        frame_rate, frames = STEP_RATE, len(analysis.power_T)
        if clip.fps and clip.frames:
            frame_rate, frames = clip.fps, clip.frames
        power_T = _per_frame(analysis.power_T, frame_rate, frames)
        periodic_T = analysis.voicing_T >= self.config.voiced_threshold
        voiced_T = periodic_T & (_decibels(analysis.power_T) >= self.config.voiced_db)
        return AudioRecord(
            backend="logmel-v1",
            sample_rate=SAMPLE_RATE,
            seconds=analysis.samples / SAMPLE_RATE,
            rate=STEP_RATE,
            features_TC=features_TC.tensor(),
            feature_names=FEATURE_NAMES,
            mean_C=mean_C,
            std_C=std_C,
            loudness_T=_decibels(power_T),
            voicing_T=_per_frame(analysis.voicing_T, frame_rate, frames).astype(np.float32),
            frame_rate=frame_rate,
            mean_loudness=float(_decibels(np.mean(analysis.power_T, dtype=np.float64))),
            voiced_share=float(np.mean(voiced_T)),
        )


def _source(context: ClipContext) -> Generator[Samples, None, None] | None:
    """The clip's sound from its start to its end; None when it has none."""
    clip, media = context.clip, context.media
    seconds = clip.seconds
    if seconds is None and clip.end is not None:
        seconds = clip.end - clip.start
    if clip.audio is not None:
        return read_audio(clip.audio, rate=SAMPLE_RATE, start=clip.start, seconds=seconds)
    video = media.get("video")
    if video is None or video.audio_codec is None:
        return None
    origin = video.first_time if video.first_time is not None else 0.0
    return read_audio(video.uri, rate=SAMPLE_RATE, start=clip.start, seconds=seconds, origin=origin)


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


def _timed(context: ClipContext, blocks: Iterator[Samples]) -> Iterator[Samples]:
    """The same blocks, their time booked as decoding."""
    while True:
        with context.timings.span("decode"):
            block = next(blocks, None)
        if block is None:
            return
        yield block


def _assemble(
    context: ClipContext, analysis: Analysis, voiced_threshold: float
) -> tuple[ArraySpool, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """All features, float16 [steps, 245], and their mean and standard deviation over the clip."""
    count = len(analysis.mel_TC)
    features_TC = context.spool(np.float16, len(FEATURE_NAMES))
    total_C, squares_C = np.zeros(len(FEATURE_NAMES)), np.zeros(len(FEATURE_NAMES))
    loudness_T = _decibels(analysis.power_T)
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


def _decibels(power: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Decibels of full scale of mean squares; -100 for silence."""
    return np.asarray(10 * np.log10(np.maximum(power, _SILENT_POWER)), dtype=np.float32)


def _per_frame(values_T: npt.NDArray[np.float32], frame_rate: float, frames: int) -> npt.NDArray[np.float64]:
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

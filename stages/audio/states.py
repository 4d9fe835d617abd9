"""The speech encoder's hidden states of a clip's sound, whatever its length, at the rate that S2V takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from schemas.tensor import numpy_dtype
from stages.audio.normalise import Samples, WaveformStatistics
from stages.audio.wav2vec2 import States, Wav2Vec2Encoder
from stages.audio.windows import EncoderWindow, encoder_windows
from wanprep.media.speech_frames import (
    SAMPLE_RATE,
    STATES_RATE,
    STEP_RATE,
    encoder_steps,
    interpolate_blocks,
    interpolated_length,
)
from wanprep.models.device import Precision
from wanprep.models.errors import ModelBroken
from wanprep.spool import ArraySpool
from wanprep.stage import ClipContext


class Waveform:
    """The clip's samples, kept in scratch space for a second pass, and their statistics.

    The encoder's normalisation is over the whole sound, so that nothing can be encoded before its end is known.
    """

    def __init__(self, context: ClipContext) -> None:
        self._samples = context.spool(np.float32)
        self._statistics = WaveformStatistics()

    def kept(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
        """The same blocks, each written down."""
        for block in blocks:
            self._samples.append(block)
            self._statistics.add(block)
            yield block

    def __len__(self) -> int:
        return len(self._samples)

    def piece(self, samples: slice, normalised: bool = True) -> Samples:
        """Samples float32 [N], with the whole sound's mean and variance taken out."""
        piece_N = self._samples[samples]
        return self._statistics.normalised(piece_N) if normalised else piece_N.astype(np.float32)


@dataclass(frozen=True, slots=True)
class SpeechStates:
    frames_TLC: ArraySpool  # [frames, layers, channels] at `rate`
    rate: float  # frames a second
    windows: int  # passes of the encoder


def speech_states(
    context: ClipContext,
    encoder: Wav2Vec2Encoder,
    waveform: Waveform,
    *,
    one_pass_seconds: float,
    context_seconds: float,
    storage: Precision,
) -> SpeechStates:
    """All hidden states of a sound at 30 frames a second. Memory does not grow with its length.

    Raises:
        ModelBroken: the states have values that `storage` cannot hold.
        ModelOutOfMemory: a window does not fit on the GPU.
    """
    steps = encoder_steps(len(waveform))
    windows = list(
        encoder_windows(
            steps, encoder_steps(round(one_pass_seconds * SAMPLE_RATE)), round(context_seconds * STEP_RATE)
        )
    )
    frames_TLC = context.spool(numpy_dtype(storage), encoder.layers, encoder.channels)
    blocks = (block for window in windows for block in _kept(encoder, waveform, window))
    for frames in interpolate_blocks(blocks, steps, interpolated_length(steps)):
        with np.errstate(over="ignore"):  # told below, with what to do
            stored = frames.astype(frames_TLC.dtype)
        if not np.isfinite(stored.astype(np.float32)).all():
            raise ModelBroken(
                f"wav2vec2 gives states that are not finite in storage={storage}: take precision=float32 and "
                "storage=bfloat16"
            )
        frames_TLC.append(stored)
    return SpeechStates(frames_TLC, STATES_RATE, len(windows))


def _kept(encoder: Wav2Vec2Encoder, waveform: Waveform, window: EncoderWindow) -> Iterator[States]:
    """The states of a window's steps that are kept, in blocks."""
    reached = window.first
    for block in encoder.states(waveform.piece(window.samples, encoder.normalises)):
        begin, end = max(window.begin - reached, 0), min(window.end - reached, len(block))
        reached += len(block)
        if begin < end:
            yield block[begin:end]

"""Artifact `audio`: sound features on a fixed time grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.record import Record
from schemas.tensor import TENSOR, Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioRecord(Record):
    """Features at `rate` steps a second, step 0 at the clip's start; `feature_names` names the columns.

    Backend `logmel-v1` has these alone. Backend `wav2vec2` also has the speech encoder's hidden states, which
    nothing else replaces: at `states_rate` frames a second, first and last frame on the encoder's first and last
    step, as Wan2.2-S2V takes them.
    """

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("backend", pa.string(), nullable=False),
            pa.field("sample_rate", pa.int32(), nullable=False),
            pa.field("seconds", pa.float64(), nullable=False),
            pa.field("rate", pa.float64(), nullable=False),
            pa.field("features_TC", TENSOR, nullable=False),
            pa.field("feature_names", pa.list_(pa.string()), nullable=False),
            pa.field("mean_C", TENSOR, nullable=False),
            pa.field("std_C", TENSOR, nullable=False),
            pa.field("loudness_T", TENSOR, nullable=False),
            pa.field("voicing_T", TENSOR, nullable=False),
            pa.field("frame_rate", pa.float64(), nullable=False),
            pa.field("mean_loudness", pa.float32(), nullable=False),
            pa.field("voiced_share", pa.float32(), nullable=False),
            pa.field("states_TLC", TENSOR),
            pa.field("states_rate", pa.float64()),
            pa.field("windows", pa.int32()),
            pa.field("encoder", pa.string()),
            pa.field("encoder_digest", pa.string()),
            pa.field("precision", pa.string()),
            pa.field("device", pa.string()),
        ]
    )

    backend: str  # logmel-v1 or wav2vec2
    sample_rate: int  # Hz, of the analysed mono sound
    seconds: float
    rate: float  # feature steps a second
    features_TC: Tensor  # float16 [steps, features], not normalised
    feature_names: list[str]
    mean_C: Tensor  # float32 [features] over the clip
    std_C: Tensor  # float32 [features] over the clip
    loudness_T: Tensor  # float32 [video frames] dB relative to full scale, RMS around each frame
    voicing_T: Tensor  # float32 [video frames] 0 (noise, silence) to 1 (voiced)
    frame_rate: float  # of loudness_T and voicing_T: the clip's fps, or `rate` without video
    mean_loudness: float  # dB
    voiced_share: float  # share of steps that are voiced, 0 to 1
    # bfloat16 (or as stored) [frames, layers, channels]: input of the first layer, each layer's output, the last
    # one after the encoder's final norm; [T, 25, 1024] of wav2vec2-large-xlsr-53-english
    states_TLC: Tensor | None = None
    states_rate: float | None = None  # frames a second of states_TLC: 30
    windows: int | None = None  # passes of the encoder; 1: the whole sound at once
    encoder: str | None = None  # name of the checkpoint
    encoder_digest: str | None = None  # of its config and weights
    precision: str | None = None  # that the encoder computed in
    device: str | None = None  # where it ran: cpu or cuda

    def normalised_TC(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float32]:
        """Features with zero mean and unit variance over the clip, float32 [steps, features]."""
        features = np.asarray(self.features_TC[start:stop], dtype=np.float32)
        out: npt.NDArray[np.float32] = (features - self.mean_C) / np.maximum(self.std_C, 1e-5)
        return out

    def at_rate(self, fps: float, frames: int) -> npt.NDArray[np.float32]:
        """Normalised features interpolated linearly to `frames` steps at `fps`, float32 [frames, features].

        The last step is held where the sound ends before the frames do.
        """
        features = self.normalised_TC()
        position = np.minimum(np.arange(frames) / fps * self.rate, len(features) - 1)
        lower = np.floor(position).astype(np.int64)
        upper = np.minimum(lower + 1, len(features) - 1)
        weight = (position - lower)[:, None].astype(np.float32)
        out: npt.NDArray[np.float32] = features[lower] * (1 - weight) + features[upper] * weight
        return out

    def states_LTC(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float32]:
        """Hidden states of frames `start` to `stop` (exclusive), layers first as models take them: float32.

        Raises:
            ValueError: the record has none.
        """
        if self.states_TLC is None:
            raise ValueError(
                f"the sound was encoded by {self.backend}, which has no hidden states: run again with "
                "--set audio.backend=wav2vec2"
            )
        frames_TLC = np.asarray(self.states_TLC[start:stop], dtype=np.float32)
        return np.ascontiguousarray(frames_TLC.transpose(1, 0, 2))

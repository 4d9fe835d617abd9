"""Mean and variance of a whole waveform that comes in blocks, and the normalisation wav2vec 2.0 was trained with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

# Added to the variance by Wav2Vec2FeatureExtractor, so that silence stays zero.
_EPSILON = 1e-7


@dataclass(slots=True)
class WaveformStatistics:
    """Running mean and sum of squared deviations, merged block by block in float64 (Chan et al., 1979)."""

    count: int = 0
    mean: float = 0.0
    _squares: float = 0.0

    def add(self, block_N: Samples) -> None:
        added = len(block_N)
        if not added:
            return
        samples = block_N.astype(np.float64)
        mean = float(samples.mean())
        squares = float(np.square(samples - mean).sum())
        total = self.count + added
        gap = mean - self.mean
        self._squares += squares + gap * gap * self.count * added / total
        self.mean += gap * added / total
        self.count = total

    @property
    def variance(self) -> float:
        """Of all samples, not corrected for the mean being estimated; 0 without samples."""
        return self._squares / self.count if self.count else 0.0

    def normalised(self, samples_N: Samples) -> Samples:
        """A part of the waveform with the whole one's mean 0 and variance 1: float32 [N]."""
        scale = np.sqrt(self.variance + _EPSILON)
        return np.asarray((samples_N.astype(np.float64) - self.mean) / scale, np.float32)

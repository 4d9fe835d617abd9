"""Log-mel spectrum: energies in 80 bands that are spaced as people hear pitch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stages.audio.steps import SAMPLE_RATE

WINDOW = 400  # samples, 25 ms: Hann, in the middle of the transform
TRANSFORM = 512
BANDS = 80
# Just under the energy that the rounding of 16-bit samples leaves in a band (about 4e-10).
FLOOR = 1e-10

Array = npt.NDArray[np.floating[Any]]

# Slaney's mel scale (Auditory Toolbox, 1998): linear with 200/3 Hz a mel up to 1000 Hz, then 27 mels for each
# factor 6.4 of frequency.
_HERTZ_A_MEL = 200 / 3
_KNEE_HERTZ = 1000.0
_KNEE_MEL = _KNEE_HERTZ / _HERTZ_A_MEL
_LOG_STEP = np.log(6.4) / 27


def hertz_to_mel(hertz: Array) -> Array:
    """Slaney mels of frequencies in Hz."""
    high = np.log(np.maximum(hertz, _KNEE_HERTZ) / _KNEE_HERTZ) / _LOG_STEP + _KNEE_MEL
    return np.where(hertz < _KNEE_HERTZ, hertz / _HERTZ_A_MEL, high)


def mel_to_hertz(mel: Array) -> Array:
    """Frequencies in Hz of Slaney mels."""
    high = _KNEE_HERTZ * np.exp(_LOG_STEP * (np.maximum(mel, _KNEE_MEL) - _KNEE_MEL))
    return np.where(mel < _KNEE_MEL, mel * _HERTZ_A_MEL, high)


def mel_bands(bands: int = BANDS) -> npt.NDArray[np.float64]:
    """Triangular bands from 0 Hz to half the sample rate, each of area 1 over Hz: float64 [257, bands]."""
    bins_F = np.linspace(0, SAMPLE_RATE / 2, TRANSFORM // 2 + 1)
    corners = mel_to_hertz(np.linspace(0.0, float(hertz_to_mel(np.array(SAMPLE_RATE / 2))), bands + 2))
    low, centre, high = corners[:-2], corners[1:-1], corners[2:]
    rising = (bins_F[:, None] - low) / (centre - low)
    falling = (high - bins_F[:, None]) / (high - centre)
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * (2 / (high - low)))


class LogMel:
    """Natural logarithm of mel-band energies, and the spectrum's centre."""

    def __init__(self) -> None:
        # The periodic Hann window, as for any spectrum that moves in hops.
        self._window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
        self._bands_FC = mel_bands()
        self._bins_F = np.linspace(0, SAMPLE_RATE / 2, TRANSFORM // 2 + 1)

    def __call__(self, pieces_TN: Array) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Of pieces [T, N] around their steps: log-mel float32 [T, 80] and centroid float32 [T] in Hz.

        The centroid is the power spectrum's mean frequency, 0 for silence.
        """
        before = (pieces_TN.shape[1] - WINDOW) // 2
        power_TF = np.abs(np.fft.rfft(pieces_TN[:, before : before + WINDOW] * self._window, TRANSFORM)) ** 2
        mel_TC = np.log(np.maximum(power_TF @ self._bands_FC, FLOOR))
        total_T = power_TF.sum(axis=1)
        centroid_T = power_TF @ self._bins_F / np.maximum(total_T, FLOOR)
        return mel_TC.astype(np.float32), centroid_T.astype(np.float32)


def slopes(rows_TC: Array) -> Array:
    """Slope over time by regression over five steps, for all rows but the first and last two: [T - 4, C].

    The usual delta of speech recognition (Young et al., The HTK Book, 5.9): sum n (c[t+n] - c[t-n]) / 10.
    """
    return np.asarray((rows_TC[3:-1] - rows_TC[1:-3] + 2 * (rows_TC[4:] - rows_TC[:-4])) / 10)

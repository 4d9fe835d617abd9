"""Voicing and pitch by normalised cross-correlation of the sound with itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stages.audio.steps import SAMPLE_RATE, Samples

LOWEST, HIGHEST = 60.0, 400.0  # Hz, the range of speaking voices
SPAN = 800  # samples, 50 ms: three periods of the lowest pitch

_FIRST_LAG = int(SAMPLE_RATE / HIGHEST)
_LAST_LAG = int(np.ceil(SAMPLE_RATE / LOWEST))
_TRANSFORM = 1_152  # at least SPAN + _LAST_LAG + 1, so that the correlation does not wrap; 2^7 * 9 is fast
# Energy of a span of -70 dB: sound quieter than that is not called voiced, however regular.
_QUIET = SPAN * 1e-7
# The first peak this close to the highest is the period; later ones are its multiples (McLeod and Wyvill,
# "A smarter way to find pitch", 2005, take 0.8 to 1).
_CLOSE = 0.9


def voicing(pieces_TN: Samples) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Of pieces [T, SPAN]: voicing float32 [T], 0 (noise, silence) to 1 (periodic); pitch float32 [T] in Hz.

    Voicing is the highest peak of the correlation between the piece and itself some lag later, each part
    normalised by its own energy (Talkin, "A robust algorithm for pitch tracking", 1995). Pitch is 0 where
    there is no peak at all; where voicing is low it means little.
    """
    sound_TN = pieces_TN.astype(np.float64)
    sound_TN -= sound_TN.mean(axis=1, keepdims=True)
    spectrum_TF = np.fft.rfft(sound_TN, _TRANSFORM)
    # One lag more at each end, to tell peaks from slopes.
    lags = slice(_FIRST_LAG - 1, _LAST_LAG + 2)
    product_TL = np.fft.irfft(np.abs(spectrum_TF) ** 2, _TRANSFORM)[:, lags]
    energy_TN = np.concatenate([np.zeros((len(sound_TN), 1)), np.cumsum(sound_TN**2, axis=1)], axis=1)
    lag_L = np.arange(lags.start, lags.stop)
    first_TL = energy_TN[:, SPAN - lag_L]
    second_TL = energy_TN[:, -1:] - energy_TN[:, lag_L]
    ratio_TL = product_TL / (np.sqrt(np.maximum(first_TL * second_TL, 0)) + _QUIET)

    inner_TL = ratio_TL[:, 1:-1]
    peak_TL = (inner_TL >= ratio_TL[:, :-2]) & (inner_TL > ratio_TL[:, 2:]) & (inner_TL > 0)
    height_TL = np.where(peak_TL, inner_TL, 0.0)
    voicing_T = np.minimum(height_TL.max(axis=1), 1.0)
    place_T = np.argmax(peak_TL & (height_TL >= _CLOSE * voicing_T[:, None]), axis=1)
    rows = np.arange(len(ratio_TL))
    before, at, after = (ratio_TL[rows, place_T + step] for step in range(3))
    bend_T = before - 2 * at + after
    # The vertex of the parabola through the peak and its neighbours.
    offset_T = np.where(bend_T < 0, 0.5 * (before - after) / np.where(bend_T < 0, bend_T, -1.0), 0.0)
    pitch_T = np.where(voicing_T > 0, SAMPLE_RATE / (_FIRST_LAG + place_T + offset_T), 0.0)
    return voicing_T.astype(np.float32), pitch_T.astype(np.float32)

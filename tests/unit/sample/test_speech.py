"""The synthesised voice: its level, its pauses, and that a seed fixes it."""

from __future__ import annotations

import numpy as np
import pytest

from wanprep.sample.speech import SAMPLE_RATE, loudness_by_frame, synthesise_speech


def test_a_seed_fixes_the_voice() -> None:
    first, again, other = (synthesise_speech(1.5, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.waveform_T, again.waveform_T)
    assert not np.array_equal(first.waveform_T, other.waveform_T)


def test_the_waveform_is_mono_float32_in_range_and_of_the_asked_length() -> None:
    speech = synthesise_speech(2.25, 7)
    assert speech.waveform_T.dtype == np.float32
    assert speech.waveform_T.shape == (round(2.25 * SAMPLE_RATE),)
    assert 0.5 < np.abs(speech.waveform_T).max() <= 1.0


def test_it_is_quiet_at_both_ends_and_pauses_between_phrases() -> None:
    speech = synthesise_speech(5.0, 7)
    loud_T = loudness_by_frame(speech.waveform_T, speech.sample_rate, 25, 125)
    assert loud_T[:4].max() < 0.05
    assert loud_T[-4:].max() < 0.05
    quiet_T = loud_T[10:-10] < 0.1
    assert 0.05 < quiet_T.mean() < 0.5
    assert (loud_T > 0.6).mean() > 0.25


@pytest.mark.parametrize("pitch_hz", [110.0, 196.0])
def test_the_voice_has_the_asked_pitch(pitch_hz: float) -> None:
    waveform_T = synthesise_speech(4.0, 5, pitch_hz).waveform_T
    spectrum = np.abs(np.fft.rfft(waveform_T)) ** 2
    correlation_L = np.fft.irfft(spectrum)
    lowest, highest = round(SAMPLE_RATE / (1.6 * pitch_hz)), round(SAMPLE_RATE / (0.7 * pitch_hz))
    period = lowest + int(np.argmax(correlation_L[lowest:highest]))
    assert SAMPLE_RATE / period == pytest.approx(pitch_hz, rel=0.25)


def test_loudness_of_silence_is_zero() -> None:
    silence_T = np.zeros(SAMPLE_RATE, np.float32)
    np.testing.assert_array_equal(loudness_by_frame(silence_T, SAMPLE_RATE, 24, 24), np.zeros(24, np.float32))


def test_no_time_no_speech() -> None:
    with pytest.raises(ValueError, match="positive length"):
        synthesise_speech(0.0, 1)

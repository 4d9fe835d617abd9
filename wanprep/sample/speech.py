"""Speech-like sound without words: a voice that moves through vowels, syllable by syllable, with pauses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16_000
CONTROL_RATE = 200  # Hz; formants move over tens of milliseconds, so 5 ms steps are fine enough
WOMENS_PITCH_HZ = 210.0  # about the mean of the speakers behind the formants below

# First three formants in Hz of women's vowels, and how rounded the lips are (0 spread, 1 pursed).
# Formants: Peterson and Barney, "Control methods used in a study of the vowels", JASA 24, 1952, table II.
VOWELS: tuple[tuple[float, float, float, float], ...] = (
    (310, 2790, 3310, 0.0),  # heed
    (430, 2480, 3070, 0.1),  # hid
    (610, 2330, 2990, 0.15),  # head
    (860, 2050, 2850, 0.1),  # had
    (850, 1220, 2810, 0.35),  # hod
    (590, 920, 2710, 0.8),  # hawed
    (470, 1160, 2680, 0.85),  # hood
    (370, 950, 2670, 1.0),  # who'd
    (760, 1400, 2780, 0.3),  # hud
)
BANDWIDTHS_HZ = (80.0, 110.0, 160.0)
CLOSED_FIRST_FORMANT_HZ = 260.0  # a closing mouth pulls the first formant down whatever the vowel

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Speech:
    """A voice: `waveform_T` float32 mono in -1..1 at `sample_rate`, `rounding_T` lips 0..1 at 200 Hz."""

    waveform_T: FloatArray
    rounding_T: FloatArray
    sample_rate: int = SAMPLE_RATE


@dataclass(frozen=True)
class _Syllable:
    start_s: float
    length_s: float
    vowel: int
    stress: float  # 0..1
    hiss: float  # loudness of the consonant before it, 0 where there is none
    hiss_high: bool
    phrase_place: float  # 0 at the phrase's start, 1 at its end


def _syllables(seconds: float, random: np.random.Generator) -> list[_Syllable]:
    """Phrases of four to seven syllables with breaths between them; silent at both ends of the clip."""
    syllables: list[_Syllable] = []
    clock, last_vowel, end = 0.22, -1, seconds - 0.28
    while clock < end:
        count = int(random.integers(4, 8))
        for index in range(count):
            length = float(random.uniform(0.15, 0.25)) * (1.35 if index == count - 1 else 1.0)
            vowel = int(random.integers(len(VOWELS)))
            vowel = (vowel + 1) % len(VOWELS) if vowel == last_vowel else vowel
            stress = float(random.uniform(0.7, 1.0) if index % 2 == 0 else random.uniform(0.3, 0.6))
            hiss = float(random.uniform(0.05, 0.12)) if random.random() < 0.45 else 0.0
            high = bool(random.random() < 0.5)
            if clock + length > end:
                return syllables
            syllables.append(_Syllable(clock, length, vowel, stress, hiss, high, index / max(1, count - 1)))
            last_vowel = vowel
            clock += length
        clock += float(random.uniform(0.24, 0.42))
    return syllables


def _band_noise(
    length: int, low_hz: float, high_hz: float, random: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Noise of unit RMS between two frequencies."""
    spectrum = np.fft.rfft(random.standard_normal(length))
    frequency = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    spectrum[(frequency < low_hz) | (frequency > high_hz)] = 0
    noise = np.fft.irfft(spectrum, length)
    return np.asarray(noise / max(1e-9, float(np.sqrt(np.mean(noise**2)))))


def _harmonic_gain(
    frequency_T: npt.NDArray[np.float64], formants_3T: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Amplitude of one harmonic after the vocal tract: three resonances on a falling source."""
    gain = 220.0 / np.maximum(frequency_T, 60.0)
    for formant_T, bandwidth in zip(formants_3T, BANDWIDTHS_HZ, strict=True):
        ratio = frequency_T / formant_T
        gain = gain / np.hypot(1 - ratio**2, ratio * bandwidth / formant_T)
    return np.asarray(gain)


def synthesise_speech(seconds: float, seed: int, pitch_hz: float = 196.0) -> Speech:
    """A voice that babbles for `seconds`, the same for the same seed.

    Raises:
        ValueError: `seconds` is not positive.
    """
    if seconds <= 0:
        raise ValueError(f"speech of {seconds} s cannot be made; ask for a positive length")
    random = np.random.default_rng(seed)
    steps = int(np.ceil(seconds * CONTROL_RATE)) + 1
    clock_T = np.arange(steps) / CONTROL_RATE
    formants_3T = np.tile(np.array([[500.0], [1500.0], [2600.0]]), (1, steps))
    rounding_T = np.full(steps, 0.3)
    loudness_T, pitch_T = np.zeros(steps), np.full(steps, pitch_hz)
    hiss_T = {True: np.zeros(steps), False: np.zeros(steps)}
    tract = (pitch_hz / WOMENS_PITCH_HZ) ** 0.25  # deeper voices come from longer vocal tracts
    for syllable in _syllables(seconds, random):
        place_T = (clock_T - syllable.start_s) / syllable.length_s
        inside_T = (place_T >= 0) & (place_T < 1)
        arch_T = np.sin(np.pi * np.clip(place_T, 0, 1)) ** 0.8
        loudness_T = np.maximum(loudness_T, (0.35 + 0.65 * syllable.stress) * arch_T)
        first, second, third, rounding = VOWELS[syllable.vowel]
        opening_T = np.clip(1.4 * arch_T, 0, 1)[inside_T]
        first_T = CLOSED_FIRST_FORMANT_HZ + (first - CLOSED_FIRST_FORMANT_HZ) * opening_T
        others = np.array([[second], [third]]) * np.ones_like(first_T)
        formants_3T[:, inside_T] = tract * np.vstack([first_T, others])
        rounding_T[inside_T] = rounding
        # Pitch falls through a phrase and rises a little on stressed syllables.
        pitch_T[inside_T] = pitch_hz * (1.14 - 0.24 * syllable.phrase_place + 0.10 * syllable.stress)
        burst_T = np.exp(-(((clock_T - syllable.start_s - 0.01) / 0.028) ** 2))
        hiss_T[syllable.hiss_high] = np.maximum(hiss_T[syllable.hiss_high], syllable.hiss * burst_T)
    glide = np.hanning(13) / np.hanning(13).sum()  # 60 ms: articulators do not jump
    formants_3T = np.stack([np.convolve(np.pad(row, 6, mode="edge"), glide, "valid") for row in formants_3T])
    rounding_T = np.convolve(np.pad(rounding_T, 6, mode="edge"), glide, "valid")
    pitch_T = np.convolve(np.pad(pitch_T, 6, mode="edge"), glide, "valid")
    pitch_T = pitch_T * (1 + 0.008 * np.sin(2 * np.pi * 5.1 * clock_T))

    samples = round(seconds * SAMPLE_RATE)
    sample_clock_S = np.arange(samples) / SAMPLE_RATE
    phase_S = 2 * np.pi * np.cumsum(np.interp(sample_clock_S, clock_T, pitch_T)) / SAMPLE_RATE
    voice_S = np.zeros(samples)
    for harmonic in range(1, int(5200 / pitch_T.max()) + 1):
        gain_T = _harmonic_gain(harmonic * pitch_T, formants_3T)
        voice_S += np.interp(sample_clock_S, clock_T, gain_T) * np.sin(harmonic * phase_S)
    level = np.sqrt(np.convolve(voice_S**2, np.ones(800) / 800, "same")) + 1e-6
    voice_S = (
        voice_S / level * np.interp(sample_clock_S, clock_T, loudness_T)
    )  # the syllables, not the vowels, set it
    voice_S += (
        0.6 * np.interp(sample_clock_S, clock_T, hiss_T[True]) * _band_noise(samples, 4200, 7600, random)
    )
    voice_S += (
        0.6 * np.interp(sample_clock_S, clock_T, hiss_T[False]) * _band_noise(samples, 2200, 4800, random)
    )
    peak = max(1e-6, float(np.abs(voice_S).max()))
    return Speech((0.7 / peak * voice_S).astype(np.float32), rounding_T.astype(np.float32))


def loudness_by_frame(waveform_S: FloatArray, sample_rate: int, fps: float, frame_count: int) -> FloatArray:
    """Loudness at each video frame: RMS over the frame's own time, 0..1 where 1 is the clip's loud passages.

    Returns float32 of shape (frame_count,). Silence gives zeros; the 95th percentile maps to 1.
    """
    rms_T = np.zeros(frame_count, np.float32)
    for index in range(frame_count):
        start, stop = (round(edge * sample_rate / fps) for edge in (index, index + 1))
        chunk_S = waveform_S[start:stop]
        if chunk_S.size:
            rms_T[index] = np.sqrt(np.mean(np.square(chunk_S, dtype=np.float64)))
    top = float(np.percentile(rms_T, 95)) if frame_count else 0.0
    return np.clip(rms_T / top, 0, 1).astype(np.float32) if top > 0 else rms_T

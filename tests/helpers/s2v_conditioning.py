"""Sound-to-video conditioning made up in memory, and a generator without weights whose pictures show what it heard."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from schemas import LatentsRecord
from wanprep.media.speech_frames import SAMPLE_RATE, encoder_steps, interpolated_length
from wanprep_infer.conditioning.s2v import S2VConditioning

Floats = npt.NDArray[np.float32]
WIDTH, HEIGHT = 64, 64
CHANNELS = 16


def latents_record(latents_CTHW: Floats, view: str = "reference", **fields: Any) -> LatentsRecord:
    """A record of latents that are whitened already: mean 0, deviation 1."""
    channels, frames, high, wide = latents_CTHW.shape
    values: dict[str, Any] = {
        "view": view,
        "backend": "vae",
        "vae": "made up",
        "vae_digest": None,
        "precision": "float32",
        "device": "cpu",
        "pixel_rounding": "float32",
        "tile": None,
        "frames": 1,
        "frames_repeated": 0,
        "frames_left_out": 0,
        "segment_frames": 4 * (frames - 1) + 1,
        "segment_starts": [0],
        "width": wide * 8,
        "height": high * 8,
        "fit": "s2v",
        "stride_time": 4,
        "stride_space": 8,
        "latents_TCHW": np.moveaxis(latents_CTHW, 1, 0),
        "latent_mean_C": np.zeros(channels, np.float32),
        "latent_std_C": np.ones(channels, np.float32),
    }
    return LatentsRecord(**{**values, **fields})


def pose_record(clips: int, frames_per_clip: int = 80, **fields: Any) -> LatentsRecord:
    """Pose latents of so many clips; every latent frame has its number in the row as value."""
    per_clip = frames_per_clip // 4 + 1
    numbers_T = np.arange(clips * per_clip, dtype=np.float32)
    latents_TCHW = np.broadcast_to(
        numbers_T[:, None, None, None], (len(numbers_T), CHANNELS, HEIGHT // 8, WIDTH // 8)
    )
    values: dict[str, Any] = {
        "latents_TCHW": latents_TCHW,
        "segment_frames": frames_per_clip + 1,
        "segment_starts": [clip * frames_per_clip for clip in range(clips)],
        "frames": clips * frames_per_clip,
    }
    return latents_record(
        np.zeros((CHANNELS, 1, HEIGHT // 8, WIDTH // 8), np.float32), "pose", **values | fields
    )


def conditioning(seconds: float, **fields: Any) -> S2VConditioning:
    """Conditioning of sound that lasts so long, states counting up by a frame of 30 a second."""
    features = interpolated_length(encoder_steps(round(seconds * SAMPLE_RATE)))
    audio_TLC = np.broadcast_to(np.arange(features, dtype=np.float32)[:, None, None], (features, 25, 4))
    values: dict[str, Any] = {
        "clip_id": "clip",
        "keys": {},
        "audio_TLC": audio_TLC,
        "audio_seconds": seconds,
        "text_LC": np.ones((3, 8), np.float32),
        "negative_LC": np.zeros((2, 8), np.float32),
        "reference": latents_record(np.zeros((CHANNELS, 1, HEIGHT // 8, WIDTH // 8), np.float32)),
    }
    return S2VConditioning(**{**values, **fields})


class Tokens(SimpleNamespace):
    """What `Hearing.prepare` was given."""

    def branch(self, text: Any, audio: Any) -> Tokens:
        self.branches.append(Tokens(**{**vars(self), "context_LC": text, "audio_LCT": audio}))
        return self.branches[-1]


class Hearing:
    """In place of a transformer: the velocity leads to latents that hold, of each latent frame, the mean of four
    frames' sound states in four channels."""

    config = SimpleNamespace(audio_dim=4, audio_layers=25, text_dim=8)

    def __init__(self) -> None:
        self.prepared: list[Tokens] = []
        self.noises: list[Any] = []
        self.tokens = 0

    def text_tokens(self, context_LC: Any, *, keep_keys_values: bool) -> Any:
        self.tokens += 1
        return context_LC

    def audio_tokens(self, audio_LCT: Any, *, keep_keys_values: bool) -> Any:
        self.tokens += 1
        return audio_LCT

    def prepare(self, **given: Any) -> Tokens:
        self.prepared.append(Tokens(**given, branches=[]))
        return self.prepared[-1]

    def velocity(self, latents_CTHW: Any, timestep: int, tokens: Tokens) -> Any:
        import torch

        if timestep >= 999:
            self.noises.append(latents_CTHW.clone())
        heard_T = tokens.audio_LCT.mean((0, 1))
        clean_CTHW = torch.zeros_like(latents_CTHW)
        clean_CTHW[:4] = heard_T.reshape(-1, 4).T[:, :, None, None]
        return (latents_CTHW - clean_CTHW) / (max(timestep, 1) / 1000)


class Showing:
    """In place of a VAE: a frame's grey is its channel of the latents."""

    stride, channels, device, streams = 8, CHANNELS, "cpu", False

    def __init__(self) -> None:
        self.encoded: list[Any] = []

    def whiten(self, latents_CTHW: Any) -> Any:
        return latents_CTHW

    unwhiten = whiten

    def encode(self, pixels_CTHW: Any, tile: int | None = None) -> Any:
        import torch

        self.encoded.append(pixels_CTHW.clone())
        grey_T = pixels_CTHW.mean((0, 2, 3))
        frames = (len(grey_T) + 3) // 4
        latents_CTHW = torch.zeros((CHANNELS, frames, HEIGHT // 8, WIDTH // 8))
        latents_CTHW[:4, 1:] = grey_T[1:].reshape(-1, 4).T[:, :, None, None]
        return latents_CTHW

    def decoder(self, tile: int | None = None) -> _Decoder:
        return _Decoder()


class _Decoder:
    def __init__(self) -> None:
        self._first = True

    def add(self, latents_CTHW: Any, *, last: bool = False) -> Any:
        rows, columns = latents_CTHW.shape[2] * 8, latents_CTHW.shape[3] * 8
        grey_T = latents_CTHW[:4, :, 0, 0].T.reshape(-1)
        if self._first:
            grey_T, self._first = grey_T[:1], False
        return grey_T[None, :, None, None].expand(3, -1, rows, columns)

    def finish(self) -> Any:
        import torch

        return torch.empty((3, 0, HEIGHT, WIDTH))


def write_clicks(
    path: Path, seconds: float, times: Sequence[float], length: float = 0.01, rate: int = 16_000
) -> Path:
    """Silence with clicks of `length` seconds, 16-bit mono."""
    samples = np.zeros(round(seconds * rate), np.int16)
    for time in times:
        samples[round(time * rate) : round((time + length) * rate)] = 20_000
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        for start in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(
                samples[None, start : start + 1024], format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path

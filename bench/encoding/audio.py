"""wav2vec 2.0: all hidden states of one pass, against transformers' own forward pass."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from bench.encoding.encoder import Encoder, Pair
from schemas import ClipRecord
from stages.audio import Audio, AudioConfig
from stages.audio.states import Waveform, speech_states
from stages.audio.wav2vec2 import Wav2Vec2Encoder
from wanprep.models.tiny_wav2vec2 import Sizes, make
from wanprep.stage import ClipContext

_RATE = 16_000
_SECONDS = 10.0
# As wide as the real checkpoint, with fewer of its 24 equal layers.
_SIZES = Sizes(layers=4, channels=1024, convolution=512, feed_forward=4096, heads=16)


def _checkpoint(folder: Path) -> Path:
    model = folder / "wav2vec2"
    if not (model / "model.safetensors").is_file():
        make(model, 0, _SIZES)
    return model


def _sound(seconds: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (0.1 * rng.standard_normal(round(seconds * _RATE))).astype(np.float32)


def _pair(folder: Path) -> Pair:
    import torch
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model

    path = _checkpoint(folder)
    encoder = Wav2Vec2Encoder(path, "cpu")
    processor = Wav2Vec2FeatureExtractor.from_pretrained(path, local_files_only=True)
    model = Wav2Vec2Model.from_pretrained(path, local_files_only=True).eval()
    sound = _sound(_SECONDS)

    def ours() -> object:
        context = ClipContext(ClipRecord(clip_id="clip", recipe="recipe"), {}, folder)
        waveform = Waveform(context)
        for _ in waveform.kept(np.array_split(sound, 40)):
            pass
        options = {"one_pass_seconds": 60.0, "context_seconds": 10.0}
        states = speech_states(context, encoder, waveform, storage="bfloat16", **options)
        length = len(states.frames_TLC)
        context.close()
        return length

    def bare() -> object:
        values = processor(sound, sampling_rate=_RATE, return_tensors="pt").input_values
        with torch.inference_mode():
            output = model(values, output_hidden_states=True)
            return torch.cat([*output.hidden_states[:-1], output.last_hidden_state]).shape

    return Pair(f"{_SECONDS:g} s, {_SIZES.layers} layers of {_SIZES.channels}", ours, bare)


def _long(folder: Path, seconds: float) -> object:
    path = folder / f"sound-{seconds:g}.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=_RATE, layout="mono")
        for minute in range(0, round(seconds), 60):
            sound = _sound(min(60.0, seconds - minute))
            frame = av.AudioFrame.from_ndarray(
                np.round(np.clip(sound, -1, 1)[None] * 32767).astype(np.int16), format="s16", layout="mono"
            )
            frame.sample_rate = _RATE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    stage = Audio(AudioConfig(backend="wav2vec2", model=str(_checkpoint(folder)), device="cpu"))
    stage.setup()
    context = ClipContext(ClipRecord(clip_id="clip", recipe="recipe", audio=str(path)), {}, folder)
    record = stage.run(context, {})
    context.close()
    path.unlink()
    return record


ENCODER = Encoder(pair=_pair, long=_long, lengths=(60.0, 120.0, 600.0))

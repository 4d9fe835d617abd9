"""The speech encoder: normalised waveform, all hidden states, and the states at 30 frames a second."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

from golden.golden_file import GoldenFile
from golden.topic import Topic

_TOLERANCE = 1e-4


def check_wav2vec2(file: GoldenFile, case: str) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from stages.audio.normalise import WaveformStatistics
    from stages.audio.wav2vec2 import Wav2Vec2Encoder
    from wanprep.media.speech_frames import encoder_steps, interpolate_TLC

    fields = file.case(case)
    waveform_N = fields["in.waveform"].astype(np.float32)
    statistics = WaveformStatistics()
    for block_N in np.array_split(waveform_N, 7):  # as it comes from a decoder
        statistics.add(block_N)
    normalised_N = statistics.normalised(waveform_N)
    np.testing.assert_allclose(normalised_N[None], fields["mid.input_values"], rtol=0, atol=_TOLERANCE)
    with tempfile.TemporaryDirectory() as folder:
        _checkpoint(file, Path(folder))
        encoder = Wav2Vec2Encoder(Path(folder), "cpu", "float32")
        states_TLC = np.concatenate(list(encoder.states(normalised_N)))
    assert len(states_TLC) == encoder_steps(len(waveform_N))
    states_LTC = states_TLC.transpose(1, 0, 2)
    np.testing.assert_allclose(states_LTC, fields["out.hidden_states"], rtol=0, atol=_TOLERANCE)
    features_LTC = interpolate_TLC(states_TLC).transpose(1, 0, 2)
    np.testing.assert_allclose(features_LTC, fields["out.features_30fps"], rtol=0, atol=_TOLERANCE)


def _checkpoint(file: GoldenFile, folder: Path) -> None:
    """The weights beside a case as a checkpoint folder."""
    weights = file.weights()
    config = weights.metadata.get("config") or file.metadata["config"]
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "wav2vec2"}), encoding="utf-8")
    (folder / "model.safetensors").symlink_to(weights.path.absolute())


TOPICS = [
    Topic(
        files=("s2v/wav2vec2_*.safetensors",),
        companions=("s2v/wav2vec2_*.weights.safetensors",),
        check=check_wav2vec2,
    )
]

"""A store with a clip whose sound-to-video artifacts are made up, so that no encoder has to run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from helpers.media import write_picture
from helpers.s2v_conditioning import CHANNELS, latents_record, write_clicks
from schemas import (
    AudioRecord,
    ClipRecord,
    MediaRecord,
    NegativeTextRecord,
    OutcomeRecord,
    Record,
    TextRecord,
)
from schemas.tensor import Tensor
from wanprep.media.speech_frames import SAMPLE_RATE, encoder_steps, interpolated_length
from wanprep.scan import look
from wanprep.store import layout
from wanprep.store.clip import StoredClip
from wanprep.store.shard import ShardWriter
from wanprep.store.store import Store

TEXT_CHANNELS, AUDIO_CHANNELS = 8, 4


def audio(seconds: float = 1.0, states_TLC: Tensor | None = None, **fields: Any) -> AudioRecord:
    """States of seeded noise, bfloat16 as the stage stores them."""
    if states_TLC is None:
        features = interpolated_length(encoder_steps(round(seconds * SAMPLE_RATE)))
        noise_TLC = np.random.default_rng(3).normal(size=(features, 25, AUDIO_CHANNELS))
        states_TLC = noise_TLC.astype(ml_dtypes.bfloat16)
    nothing_TC = np.zeros((1, 1), np.float16)
    values: dict[str, Any] = {
        "backend": "wav2vec2",
        "sample_rate": SAMPLE_RATE,
        "seconds": seconds,
        "rate": 50.0,
        "features_TC": nothing_TC,
        "feature_names": ["nothing"],
        "mean_C": np.zeros(1, np.float32),
        "std_C": np.ones(1, np.float32),
        "loudness_T": np.zeros(1, np.float32),
        "voicing_T": np.zeros(1, np.float32),
        "frame_rate": 50.0,
        "mean_loudness": -20.0,
        "voiced_share": 0.5,
        "states_TLC": states_TLC,
        "states_rate": 30.0,
        "windows": 1,
        "encoder": "made up",
    }
    return AudioRecord(**{**values, **fields})


def text(**fields: Any) -> TextRecord:
    values: dict[str, Any] = {
        "backend": "umt5",
        "model_digest": None,
        "precision": "bfloat16",
        "device": "cpu",
        "layer": None,
        "text": "a woman talks",
        "source": "prompt",
        "limit": 512,
        "tokens": 3,
        "truncated": 0,
        "channels": TEXT_CHANNELS,
        "states_LC": np.full((3, TEXT_CHANNELS), 0.5, ml_dtypes.bfloat16),
    }
    return TextRecord(**{**values, **fields})


def negative_text(name: str = "s2v", **fields: Any) -> NegativeTextRecord:
    values: dict[str, Any] = {
        "backend": "umt5",
        "model_digest": None,
        "precision": "bfloat16",
        "device": "cpu",
        "layer": None,
        "names": [name],
        "texts": ["blurred"],
        "limit": 512,
        "tokens": [2],
        "truncated": [0],
        "lengths": [2],
        "channels": TEXT_CHANNELS,
        "states_LC": np.full((2, TEXT_CHANNELS), -0.5, ml_dtypes.bfloat16),
    }
    return NegativeTextRecord(**{**values, **fields})


def records(seconds: float = 1.0) -> dict[str, Record | str]:
    """All that S2V needs, of sound of so many seconds and a picture of 64x64."""
    noise_CTHW = np.random.default_rng(4).normal(size=(CHANNELS, 1, 8, 8)).astype(np.float32)
    return {
        "audio": audio(seconds),
        "text": text(),
        "negative_text": negative_text(),
        "reference_latents": latents_record(noise_CTHW, latent_std_C=np.full(CHANNELS, 2, np.float32)),
    }


def make_clip(
    folder: Path, made: Mapping[str, Record | str], *, seconds: float = 1.0, **fields: Any
) -> StoredClip:
    """The only clip of a new store; a text in place of a record is why it was skipped."""
    folder.mkdir(parents=True, exist_ok=True)
    sound = write_clicks(folder / "talk.wav", seconds, [0.5])
    picture = write_picture(folder / "portrait.png", (96, 80))
    store = Store.create(str(folder / "store"), run="test")
    media = [_media(sound, "audio"), _media(picture, "image")]
    store.write_rows(layout.MEDIA, MediaRecord, media, ["media"])
    keys = {stage: f"{number:032x}" for number, stage in enumerate(made, start=1)}
    for stage, record in made.items():
        if isinstance(record, str):
            end = OutcomeRecord(
                key=keys[stage], stage=stage, clip_id="talk", outcome="skipped", reason=record, run="test"
            )
            store.write_rows(layout.OUTCOMES, OutcomeRecord, [end], [stage])
            continue
        shard = layout.shard_name([keys[stage]])
        with ShardWriter(store.files, stage, shard, type(record), rows=1, metadata={}) as writer:
            writer.add(keys[stage], "talk", record)
            writer.commit()
    values: dict[str, Any] = {
        "clip_id": "talk",
        "recipe": "0" * 32,
        "audio": str(sound),
        "audio_digest": media[0].digest,
        "reference": str(picture),
        "reference_digest": media[1].digest,
        "prompt": "a woman talks",
        "start": 0.25,
        "keys": keys,
        "created_ns": 1,
    }
    row = ClipRecord(**{**values, **fields})
    store.write_rows(layout.CLIPS, ClipRecord, [row], ["clip"])
    store.refresh()
    return store.clip("talk")


def _media(path: Path, kind: str) -> MediaRecord:
    status = os.stat(path)
    return look(str(path), kind, status.st_size, status.st_mtime_ns)

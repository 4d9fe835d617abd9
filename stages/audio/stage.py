"""Stage `audio`: sound features on a grid of 50 steps a second, and the speech encoder's hidden states."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from schemas import AudioRecord, Record
from schemas.tensor import Tensor
from stages.audio.checkpoint import encoder_digests
from stages.audio.features import FEATURE_NAMES, Analysis, analyse, assemble, decibels, per_frame
from stages.audio.states import SpeechStates, Waveform, speech_states
from stages.audio.steps import SAMPLE_RATE, STEP_RATE, Samples
from stages.audio.wav2vec2 import Wav2Vec2Encoder, memory_bytes
from wanprep.media.audio import read_audio
from wanprep.media.speech_frames import encoder_steps, interpolated_length, least_samples
from wanprep.models.device import Device, Precision, check_extra
from wanprep.models.field import model_field
from wanprep.models.resolve import missing, resolve
from wanprep.stage import ClipContext, Media, Resources, Skipped, Stage, StageConfig

_FEATURES_MEMORY = 40 << 20  # bytes that log-mel and voicing hold at a time
_LIBRARIES_MEMORY = 700 << 20  # bytes of torch and transformers


class AudioConfig(StageConfig):
    """Which sound features are made."""

    backend: Literal["logmel", "wav2vec2"] = Field(
        default="logmel",
        description="logmel: 80 log-mel bands (Slaney scale) with slopes, loudness, voicing and pitch; needs "
        "no weights, and does not replace the wav2vec 2.0 states that Wan2.2-S2V was trained with. wav2vec2: "
        "those states besides, at 30 a second.",
    )
    model: str = model_field("wav2vec2-large-xlsr-53-english", "The wav2vec 2.0 checkpoint.")
    precision: Precision = Field(
        default="float32", description="The encoder's numbers; Wan's official code computes in float32."
    )
    storage: Precision = Field(
        default="bfloat16",
        description="The stored states; bfloat16 is what Wan2.2-S2V casts them to and takes 1.5 MB a second, "
        "float32 twice that.",
    )
    one_pass_seconds: float = Field(
        default=60.0,
        ge=1,
        le=600,
        description="Sound up to this long is encoded in one pass, as Wan's official code does with any length; "
        "longer sound in overlapping windows of this length. Memory grows with it.",
    )
    context_seconds: float = Field(
        default=10.0,
        ge=0,
        le=200,
        description="Sound on both sides of what a window keeps. More comes nearer to one pass and takes longer.",
    )
    device: Device = Field(
        default="auto", description="Where the encoder runs.", json_schema_extra={"key": False}
    )
    length: Literal["clip", "sound"] = Field(
        default="clip",
        description="Of a sound file that goes with a video. clip: as long as the video's part, cut or filled up with "
        "silence, in step with its frames. sound: to the file's own end, where the clip goes to its video's end, as "
        "Wan2.2-S2V takes it, whose poses may end before the sound or after it.",
        json_schema_extra={"key": "changed"},
    )
    voiced_threshold: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="Steps with at least this voicing count as voiced. Lower counts breathy voice and takes "
        "in music and hum.",
    )
    voiced_db: float = Field(
        default=-50.0,
        le=0,
        description="Steps quieter than this (dB of full scale) never count as voiced. Lower hears far-off "
        "speech and takes in background hum.",
    )

    @model_validator(mode="after")
    def _windows_advance(self) -> AudioConfig:
        if self.one_pass_seconds < 2 * self.context_seconds + 1:
            raise ValueError("one_pass_seconds must be longer than twice context_seconds and a second")
        return self


class Audio(Stage[AudioConfig]):
    """Features of the clip's own sound file, or else of its video's sound."""

    name: ClassVar[str] = "audio"
    version: ClassVar[int] = 1
    record: ClassVar[type[Record]] = AudioRecord
    Config: ClassVar[type[StageConfig]] = AudioConfig
    reads: ClassVar[frozenset[Media]] = frozenset({Media.VIDEO, Media.AUDIO})

    def __init__(self, config: AudioConfig) -> None:
        super().__init__(config)
        self._encoder: Wav2Vec2Encoder | None = None
        self._name: str | None = None
        self._digest: str | None = None

    @property
    def resources(self) -> Resources:  # type: ignore[override]
        if self.config.backend == "logmel":
            return Resources(cpus=1.0, memory=_FEATURES_MEMORY)
        if self.config.device == "cuda":
            return Resources(cpus=1.0, gpus=1.0, memory=_LIBRARIES_MEMORY)
        memory = _LIBRARIES_MEMORY + memory_bytes(self.config.one_pass_seconds)
        return Resources(cpus=1.0, memory=memory)

    def models(self) -> Mapping[str, str]:
        return {} if self.config.backend == "logmel" else encoder_digests(self.config.model)

    def unavailable(self) -> str | None:
        if self.config.backend == "logmel":
            return None
        return check_extra("torch", "transformers") or missing(self.config.model)

    def setup(self) -> None:
        if self.config.backend == "wav2vec2":
            found = resolve(self.config.model)
            self._encoder = Wav2Vec2Encoder(found.path, self.config.device, self.config.precision)
            # A folder's own name: where it lies says nothing to others.
            self._name = found.path.name if Path(found.name).expanduser().is_absolute() else found.name
            self._digest = encoder_digests(self.config.model)["wav2vec2"]

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> AudioRecord | Skipped:
        source = _source(context, self.config.length)
        if source is None:
            return Skipped("no sound", 0.0)
        encoder = self._encoder
        waveform = Waveform(context) if encoder is not None else None
        with closing(source):
            blocks = _timed(context, source)
            analysis = analyse(context, blocks if waveform is None else waveform.kept(blocks))
        if not analysis.samples:
            return Skipped("the sound ends before the clip begins", 0.0)
        states: SpeechStates | None = None
        if encoder is not None and waveform is not None:
            if not interpolated_length(encoder_steps(analysis.samples)):
                least = least_samples(2) / SAMPLE_RATE
                seconds = analysis.samples / SAMPLE_RATE
                return Skipped(f"the sound is shorter than the {least:.4f} s that wav2vec2 needs", seconds)
            with context.timings.span("encode"):
                states = speech_states(
                    context,
                    encoder,
                    waveform,
                    one_pass_seconds=self.config.one_pass_seconds,
                    context_seconds=self.config.context_seconds,
                    storage=self.config.storage,
                )
        return self._record(context, analysis, states)

    def _record(self, context: ClipContext, analysis: Analysis, states: SpeechStates | None) -> AudioRecord:
        features_TC, mean_C, std_C = assemble(context, analysis, self.config.voiced_threshold)
        clip = context.clip
        frame_rate, frames = STEP_RATE, len(analysis.power_T)
        if clip.fps and clip.frames:
            frame_rate, frames = clip.fps, clip.frames
        after = 0  # steps of frames that come after the sound's end
        if self.config.length == "sound":
            after = max(0, math.ceil(frames / frame_rate * STEP_RATE) - len(analysis.power_T))
        power_T = per_frame(np.pad(analysis.power_T, (0, after)), frame_rate, frames)
        periodic_T = analysis.voicing_T >= self.config.voiced_threshold
        voiced_T = periodic_T & (decibels(analysis.power_T) >= self.config.voiced_db)
        states_TLC: Tensor | None = None if states is None else states.frames_TLC.tensor()
        return AudioRecord(
            backend="logmel-v1" if states is None else "wav2vec2",
            sample_rate=SAMPLE_RATE,
            seconds=analysis.samples / SAMPLE_RATE,
            rate=STEP_RATE,
            features_TC=features_TC.tensor(),
            feature_names=FEATURE_NAMES,
            mean_C=mean_C,
            std_C=std_C,
            loudness_T=decibels(power_T),
            voicing_T=per_frame(np.pad(analysis.voicing_T, (0, after)), frame_rate, frames).astype(
                np.float32
            ),
            frame_rate=frame_rate,
            mean_loudness=float(decibels(np.mean(analysis.power_T, dtype=np.float64))),
            voiced_share=float(np.mean(voiced_T)),
            states_TLC=states_TLC,
            states_rate=None if states is None else states.rate,
            windows=None if states is None else states.windows,
            encoder=None if states is None else self._name,
            encoder_digest=None if states is None else self._digest,
            precision=None if states is None else self.config.precision,
            device=None if self._encoder is None else self._encoder.device,
        )


def _source(context: ClipContext, length: Literal["clip", "sound"]) -> Generator[Samples, None, None] | None:
    """The clip's sound from its start to its end, or its file's; None when it has none."""
    clip, media = context.clip, context.media
    seconds = clip.seconds
    if seconds is None and clip.end is not None:
        seconds = clip.end - clip.start
    video = media.get("video")
    if clip.audio is not None:
        # A part of a video that was cut up has a part of the sound.
        whole = video is not None and clip.end is not None and clip.end >= (video.seconds or 0.0)
        if length == "sound" and whole:
            seconds = None
        return read_audio(clip.audio, rate=SAMPLE_RATE, start=clip.start, seconds=seconds)
    if video is None or video.audio_codec is None:
        return None
    origin = video.first_time if video.first_time is not None else 0.0
    return read_audio(video.uri, rate=SAMPLE_RATE, start=clip.start, seconds=seconds, origin=origin)


def _timed(context: ClipContext, blocks: Iterator[Samples]) -> Iterator[Samples]:
    """The same blocks, their time booked as decoding."""
    while True:
        with context.timings.span("decode"):
            block = next(blocks, None)
        if block is None:
            return
        yield block

"""wav2vec 2.0 as Wan2.2-S2V takes it: all hidden states, the last one after the encoder's own layer norm."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stages.audio.checkpoint import EncoderFiles, find_encoder
from stages.audio.normalise import Samples
from wanprep.media.speech_frames import CONVOLUTIONS, SAMPLE_RATE, encoder_steps
from wanprep.models.device import Device, Precision, torch_device, torch_dtype, with_less
from wanprep.models.errors import ModelBroken, ModelOutOfMemory
from wanprep.models.loading import from_pretrained

if TYPE_CHECKING:
    import torch

States = npt.NDArray[np.float32]

# What checkpoints hold for other uses: the letters' head, and what stands for masked steps in training.
_HEADS = (r"lm_head\.", r"(wav2vec2\.)?masked_spec_embed$")

# Bytes of the large model in float32, and of one second in it: the first convolution's 512 channels at 3,200 steps
# thrice (its output, turned, normalised), and 25 hidden states of 1,024 channels at 50 steps twice.
_MODEL_BYTES = 1_270_000_000
_SECOND_BYTES = 4 * (3 * 3_200 * 512 + 2 * 50 * 25 * 1_024)

_BLOCK = 250  # steps given at a time: 26 MB of the large model's states


def memory_bytes(seconds: float) -> int:
    """Bytes of RAM that the large model takes for a pass over so many seconds of sound, on a CPU."""
    return _MODEL_BYTES + int(seconds * _SECOND_BYTES)


class Wav2Vec2Encoder:
    """A loaded wav2vec 2.0 model. `layers` counts hidden states: transformer layers and the input of the first."""

    def __init__(self, model: Path, device: Device = "auto", precision: Precision = "float32") -> None:
        """Loads a checkpoint of transformers' layout, with a CTC head or without.

        Args:
            model: its folder, or that of a Wan2.2-S2V release which holds one.

        Raises:
            ModelBroken: a file or tensor is missing, or the model is no wav2vec 2.0 that makes 50 steps a second.
            UsageError: `device` is cuda and there is none.
        """
        files = find_encoder(model)
        self.normalises = _normalises(files)
        self._device = torch_device(device)
        self._dtype = torch_dtype(precision)
        self._model: Any = _load(files.folder, self._dtype).to(self._device).eval()
        config = self._model.config
        self.layers: int = config.num_hidden_layers + 1
        self.channels: int = config.hidden_size

    @property
    def device(self) -> str:
        """Where it runs, "cpu" or "cuda"."""
        return str(self._device.type)

    def states(self, samples_N: Samples) -> Iterator[States]:
        """All hidden states of a piece of normalised 16 kHz sound, in one pass, some steps at a time.

        Index 0 is the input of the first transformer layer (after the positional convolution), the last one the
        last layer's output after the final layer norm.

        Yields:
            float32 [steps, layers, channels], in order.

        Raises:
            ModelOutOfMemory: the piece does not fit on the GPU.
        """
        try:
            # A shorter window would give other states, so there is no smaller size to try.
            layers = with_less([encoder_steps(len(samples_N))], lambda steps: self._forward(samples_N))
        except ModelOutOfMemory as error:
            seconds = len(samples_N) / SAMPLE_RATE
            raise ModelOutOfMemory(
                f"{seconds:.1f} s of sound do not fit at once; lower audio.one_pass_seconds: {error}"
            ) from error
        for start in range(0, layers[0].shape[1], _BLOCK):
            block = [layer[0, start : start + _BLOCK].float().cpu().numpy() for layer in layers]
            yield np.stack(block, axis=1)

    def _forward(self, samples_N: Samples) -> list[torch.Tensor]:
        import torch

        # No attention mask: the feature extractor of this family returns one that the reference does not pass on.
        values = torch.from_numpy(samples_N)[None].to(self._device, self._dtype)
        with torch.inference_mode():
            output = self._model(values, output_hidden_states=True)
        # transformers 5 gives the last hidden state of a stable-layer-norm model before the final layer norm,
        # version 4 after it: `last_hidden_state` is after it in both.
        return [*output.hidden_states[: self.layers - 1], output.last_hidden_state]


def _normalises(files: EncoderFiles) -> bool:
    """Whether the checkpoint's processor normalises the waveform; true when it says nothing of it."""
    if files.processor is None:
        return True
    settings = _json(files.processor)
    settings = settings.get("feature_extractor", settings)
    rate = settings.get("sampling_rate", SAMPLE_RATE)
    if rate != SAMPLE_RATE:
        raise ModelBroken(f"{files.processor}: the model takes sound at {rate} Hz, not {SAMPLE_RATE}")
    return bool(settings.get("do_normalize", True))


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelBroken(f"{path}: is no JSON that can be read ({error})") from error
    if not isinstance(found, dict):
        raise ModelBroken(f"{path}: is no JSON object")
    return found


def _load(folder: Path, dtype: torch.dtype) -> Any:
    from transformers import Wav2Vec2Model

    path = folder / "config.json"
    config = _json(path)
    if config.get("model_type") != "wav2vec2":
        raise ModelBroken(f"{path}: is of a {config.get('model_type')} model, not of wav2vec2")
    if config.get("add_adapter"):
        raise ModelBroken(f"{path}: the model has an adapter that changes its steps")
    kernels = list(zip(config.get("conv_kernel", []), config.get("conv_stride", []), strict=False))
    if kernels and kernels != list(CONVOLUTIONS):
        raise ModelBroken(f"{path}: the convolutions {kernels} do not make 50 steps a second")
    return from_pretrained(Wav2Vec2Model, folder, ignore=_HEADS, dtype=dtype, attn_implementation="sdpa")

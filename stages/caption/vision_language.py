"""Captions by a vision-language model on this machine: the Qwen-VL families of transformers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.caption.config import CaptionConfig
from stages.caption.sampling import Sample, fit_pixels
from stages.caption.writer import CaptionError, Written
from wanprep.media.geometry import Size
from wanprep.models.device import torch_device, torch_dtype, with_less
from wanprep.models.errors import ModelBroken
from wanprep.models.loading import from_pretrained
from wanprep.models.resolve import resolve

if TYPE_CHECKING:
    import torch


class VisionLanguageWriter:
    """Asks a model with video (or one picture) and prompt, and takes its answer.

    Pictures come in the size that the model's patches want, so that the processor neither resizes nor samples: the
    config's limits hold, and the times that it tells the model are the real ones.
    """

    def __init__(self, config: CaptionConfig) -> None:
        """Loads the model.

        Raises:
            ModelMissing, ModelBroken: it is not here, or not whole; names the file or tensor.
            UsageError: a GPU was asked for and there is none.
        """
        from transformers import AutoModelForImageTextToText

        found = resolve(config.model)
        target = torch_device(config.device)
        self._config = config
        self._processor = _processor(found.path)
        self._model = from_pretrained(
            AutoModelForImageTextToText,
            found.path,
            dtype=torch_dtype(config.precision),
            # False, not left out: otherwise transformers asks on the terminal whether to run a folder's code.
            trust_remote_code=False,
        )
        self._model.to(target).eval()
        # A folder's own name: where it lies says nothing to others.
        self.model = found.path.name if Path(found.name).expanduser().is_absolute() else found.name
        self.digest: str | None = found.digest()
        self.device: str | None = target.type
        video = self._processor.video_processor
        self._multiple = int(video.patch_size) * int(video.merge_size)

    def size(self, width: int, height: int) -> Size:
        return fit_pixels(width, height, self._config.max_pixels, self._multiple)

    def write(self, prompt: str, sample: Sample) -> Written:
        """The model's answer.

        Raises:
            CaptionError: the pictures make more tokens than the model takes.
            ModelOutOfMemory: it does not fit on the GPU; names the number of pictures.
        """
        inputs = self._inputs(prompt, sample)
        asked = int(inputs["input_ids"].shape[1])
        most = int(self._model.config.get_text_config().max_position_embeddings)
        if asked + self._config.max_tokens > most:
            raise CaptionError(
                f"{len(sample.times_T)} pictures of {sample.size[0]}x{sample.size[1]} and the prompt make {asked:,} "
                f"tokens, and the model takes {most:,} with its answer; lower caption.max_frames or caption.max_pixels"
            )
        # One clip is the smallest batch: another number of pictures would be another caption.
        tokens_L = with_less([len(sample.times_T)], lambda _: self._generate(inputs))[asked:]
        ends = self._model.generation_config.eos_token_id
        stops = set(ends if isinstance(ends, list) else [ends])
        text = self._processor.tokenizer.decode(tokens_L, skip_special_tokens=True)
        return Written(text, truncated=len(tokens_L) >= self._config.max_tokens and tokens_L[-1] not in stops)

    def _inputs(self, prompt: str, sample: Sample) -> Any:
        still = len(sample.times_T) == 1
        kind = "image" if still else "video"
        content = [{"type": kind}, {"type": "text", "text": prompt}]
        text = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        if still:
            return self._processor(
                text=[text],
                images=[sample.frames_THWC[0]],
                images_kwargs={"do_resize": False},
                return_tensors="pt",
            )
        return self._processor(
            text=[text],
            videos=[list(sample.frames_THWC)],
            videos_kwargs={
                "do_sample_frames": False,
                "do_resize": False,
                "cap_pixels_per_frame": False,
                "video_metadata": [_times(sample)],
            },
            return_tensors="pt",
        )

    def _generate(self, inputs: Any) -> list[int]:
        """Prompt and answer as token ids."""
        import torch

        config, device = self._config, self._model.device
        options: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if config.temperature > 0:
            options = {"do_sample": True, "temperature": config.temperature, "top_p": 1.0, "top_k": 0}
        devices = [device] if device.type == "cuda" else []
        # Each clip starts at the seed, so that its caption does not depend on the clips before it.
        with torch.random.fork_rng(devices=devices), torch.inference_mode():
            torch.manual_seed(config.seed)
            made: torch.Tensor = self._model.generate(
                **inputs.to(device), max_new_tokens=config.max_tokens, num_beams=1, **options
            )
        ids: list[int] = made[0].tolist()
        return ids


def _times(sample: Sample) -> dict[str, Any]:
    """When the pictures are shown, in the processors' terms: as places on a grid of a thousandth of a second."""
    grid = 1000.0
    return {
        "fps": grid,
        "total_num_frames": max(1, math.ceil(sample.seconds * grid)),
        "frames_indices": [int(place) for place in np.rint(sample.times_T * grid)],
        "duration": sample.seconds,
        "width": sample.size[0],
        "height": sample.size[1],
    }


def _processor(folder: Path) -> Any:
    from transformers import AutoProcessor

    loader: Any = AutoProcessor
    try:
        processor = loader.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise ModelBroken(f"model {folder}: its processor cannot be loaded ({said})") from error
    video = getattr(processor, "video_processor", None)
    if video is None or not hasattr(video, "merge_size") or not hasattr(video, "patch_size"):
        raise ModelBroken(
            f"model {folder}: is no model that takes video as Qwen-VL does; take qwen3-vl-8b or qwen2.5-vl-7b"
        )
    if not getattr(processor, "chat_template", None):
        raise ModelBroken(f"model {folder}: has no chat template (chat_template.jinja or .json)")
    return processor

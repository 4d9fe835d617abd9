"""What the latent stages share: their model, what enters the key, what a worker needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from stages.latents.coder import CODECS, Coder, load_coder
from stages.latents.config import EncoderConfig
from wanprep.models.device import check_extra
from wanprep.models.errors import ModelMissing
from wanprep.models.resolve import digest
from wanprep.models.vae import find_vae
from wanprep.stage import Resources, Stage

C = TypeVar("C", bound=EncoderConfig)

_CODEC_MEMORY = 100 << 20  # bytes: a window's pictures in float32
_TORCH_MEMORY = 400 << 20  # bytes of the libraries alone (measured)
# Sizes are multiples of this many latent pixels: Wan transformers take them in patches of 2x2.
_PATCH = 2


class LatentStage(Stage[C]):
    """A stage that codes pictures; `coder` is there after `setup`."""

    coder: Coder

    @property
    def resources(self) -> Resources:  # type: ignore[override]
        if self.config.backend != "vae":
            return Resources(cpus=1.0, memory=_CODEC_MEMORY)
        if self.config.device == "cuda":
            return Resources(cpus=1.0, gpus=1.0, memory=_TORCH_MEMORY)
        return Resources(cpus=1.0, memory=_TORCH_MEMORY + _weight_bytes(self.config.model))

    def models(self) -> Mapping[str, str]:
        if self.config.backend != "vae":
            return {"codec": CODECS[self.config.backend]}
        return {"vae": digest(str(find_vae(self.config.model)))}

    def unavailable(self) -> str | None:
        if self.config.backend != "vae":
            return None
        if lacking := check_extra("torch", "diffusers"):
            return lacking
        try:
            find_vae(self.config.model)
        except ModelMissing as error:
            return str(error)
        return None

    def setup(self) -> None:
        self.coder = load_coder(self.config)

    @property
    def multiple(self) -> int:
        """Pixels: what both sides of coded pictures are multiples of."""
        return self.coder.stride * _PATCH


def _weight_bytes(model: str) -> int:
    try:
        path = find_vae(model)
    except ModelMissing:
        return 0
    files = [path] if path.is_file() else list(path.glob("*.safetensors"))
    return sum(file.stat().st_size for file in files)

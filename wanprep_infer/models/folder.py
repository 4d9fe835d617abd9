"""Where the parts of a generator lie: in a diffusers pipeline folder, or in the official folder with config and shards
at its root.

Only what a run from the store needs is looked at: transformer, VAE, scheduler. The text, image and sound encoders may
be missing.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from wanprep.models.errors import ModelBroken, ModelMissing
from wanprep.models.folder import INDEX, incomplete, shards_of
from wanprep.models.loading import check_safetensors
from wanprep.models.registry import entries
from wanprep.models.resolve import LocalModel, resolve
from wanprep.models.vae import find_vae

__all__ = ["GeneratorFolder", "GeneratorKind", "GeneratorLayout", "GeneratorPart", "find_generator"]

GeneratorKind = Literal["animate", "s2v"]
GeneratorLayout = Literal["diffusers", "official"]
GeneratorPart = Literal["transformer", "vae"]

_TITLES: dict[GeneratorKind, str] = {"animate": "an Animate model", "s2v": "an S2V model"}
_EXAMPLES: dict[GeneratorKind, str] = {"animate": "wan2.2-animate-14b", "s2v": "wan2.2-s2v-14b"}
# Classes that config.json names: diffusers' and Wan's own.
_CLASSES: dict[str, GeneratorKind] = {
    "WanAnimateTransformer3DModel": "animate",
    "WanAnimateModel": "animate",
    "WanModel_S2V": "s2v",
    "WanS2VTransformer3DModel": "s2v",
    "WanSpeechToVideoTransformer3DModel": "s2v",
}
_STEM = "diffusion_pytorch_model.safetensors"
_PARTS = ("transformer", "vae", "scheduler", "config.json", _STEM, f"{_STEM}.index.json", "Wan2.1_VAE.pth")
_MAX_CONFIG = 1 << 20  # bytes; a config has some kB


@dataclass(frozen=True)
class GeneratorFolder:
    """A generator on this machine, complete as far as file names and sizes tell.

    `transformer` is the folder of its config.json and weights (of the official layout the root itself); `vae` a folder
    or, of the official layout, a .pth file; `scheduler` a folder, where there is one. How tensors are named is told by
    the tensors: a diffusers folder may hold official names.
    """

    name: str
    kind: GeneratorKind
    layout: GeneratorLayout
    path: Path
    transformer: Path
    weights: tuple[Path, ...]  # of the transformer: its safetensors files, sorted
    vae: Path
    scheduler: Path | None

    def config(self) -> dict[str, Any]:
        """The transformer's config.json.

        Raises:
            ModelBroken: it is no JSON object.
        """
        return _json(self.transformer / "config.json", self.name)

    def digest(self, part: GeneratorPart) -> str:
        """BLAKE2b-128, hex, of a part: its config and weight files by name and content.

        That of `vae` is the one that latents made with this VAE carry. Contents are read once; afterwards path, size
        and modification time stand for them. Nothing is loaded.

        Raises:
            ModelBroken: a file cannot be read.
        """
        if part == "vae":
            return LocalModel(self.name, self.vae).digest()
        files = ("config.json", *(path.name for path in self.weights))
        return LocalModel(self.name, self.transformer, files).digest()

    def digests(self) -> dict[str, str]:
        """`digest` of every part, by its name."""
        return {part: self.digest(part) for part in get_args(GeneratorPart)}


def find_generator(name_or_path: str, kind: GeneratorKind) -> GeneratorFolder:
    """The parts of a generator, of a folder, a registered name or a hub id (see `wanprep.models.resolve`).

    Reads configs and the headers of weights, no weights.

    Raises:
        ModelMissing: there is no such model, it is of another kind (the message names it), or a part, shard or file
            of it is not there.
        ModelBroken: a file is damaged or cut short.
    """
    path = _located(name_or_path)
    title = _TITLES[kind]
    if path.is_file():
        raise ModelMissing(f"model '{name_or_path}': is a single file; {title} is a folder: give that")
    transformer = _transformer(path, name_or_path, kind)
    weights = _weights(transformer, name_or_path)
    for file in weights:
        check_safetensors(file)
    scheduler = path / "scheduler"
    return GeneratorFolder(
        name=name_or_path,
        kind=kind,
        layout="official" if transformer == path else "diffusers",
        path=path,
        transformer=transformer,
        weights=weights,
        vae=_vae(path, name_or_path),
        scheduler=scheduler if (scheduler / "scheduler_config.json").is_file() else None,
    )


def _located(name: str) -> Path:
    """The model's folder, complete or not."""
    path = Path(os.path.expanduser(name))
    if name and name not in entries() and os.path.isdir(path):
        return path.absolute()  # what it lacks is said below, in the generator's own words
    return resolve(name, _PARTS).path


def _transformer(root: Path, name: str, kind: GeneratorKind) -> Path:
    """The folder of the transformer's config, when it is of this kind."""
    index = _json(root / "model_index.json", name) if (root / "model_index.json").is_file() else {}
    for folder in (root / "transformer", root):
        if not (folder / "config.json").is_file():
            continue
        config = _json(folder / "config.json", name)
        there = _kind(config)
        if there == kind:
            return folder
        what = (
            _TITLES[there] if there else f"a {_called(index) or _called(config) or 'model without a class'}"
        )
        example = f"; try {_EXAMPLES[kind]}" if there else ""
        raise ModelMissing(f"model '{name}': {root} is {what}, not {_TITLES[kind]}{example}")
    if called := _called(index):
        pipeline = {"WanAnimatePipeline": "animate", "WanSpeechToVideoPipeline": "s2v"}.get(called)
        if pipeline == kind:
            raise ModelMissing(f"model '{name}': {root / 'transformer'} has no config.json; fetch it again")
        raise ModelMissing(f"model '{name}': {root} is a {called}, not {_TITLES[kind]}")
    parts = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    held = f"holds {', '.join(parts[:5])}{' ...' if len(parts) > 5 else ''}"
    raise ModelMissing(
        f"model '{name}': {root} is not {_TITLES[kind]}: it has neither transformer/config.json nor config.json "
        f"({held})"
    )


def _kind(config: dict[str, Any]) -> GeneratorKind | None:
    named = _CLASSES.get(str(config.get("_class_name")))
    return named or ("s2v" if config.get("model_type") == "s2v" else None)


def _called(config: dict[str, Any]) -> str | None:
    """What a config says that it is of."""
    architectures = config.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    called = config.get("_class_name") or first or config.get("model_type")
    return str(called)[:80] if called else None


def _weight_names(folder: Path) -> tuple[str, ...]:
    """The index of a folder's safetensors files, or the only file."""
    names = sorted(path.name for path in folder.iterdir() if path.name.endswith(f".safetensors{INDEX}"))
    if not names:
        names = sorted(path.name for path in folder.iterdir() if path.suffix == ".safetensors")
    # Beside the plain one there may be variants, `diffusion_pytorch_model.fp16.safetensors` say.
    plain = [name for name in names if name.startswith(_STEM)]
    return tuple(plain or names)


def _weights(folder: Path, name: str) -> tuple[Path, ...]:
    names = _weight_names(folder)
    if not names:
        raise ModelMissing(f"model '{name}': {folder} has no weights (safetensors); fetch it again")
    if len(names) > 1:
        raise ModelMissing(
            f"model '{name}': {folder} has several sets of weights ({', '.join(names[:3])}) and no index that says "
            "which belong together; leave one"
        )
    if not names[0].endswith(INDEX):
        return (folder / names[0],)
    shards = shards_of(folder / names[0])
    if isinstance(shards, str):
        raise ModelBroken(f"model '{name}': {folder / names[0]} {shards}")
    if not shards:
        raise ModelBroken(f"model '{name}': {folder / names[0]} names no shards")
    for shard in shards:
        if not (folder / shard).is_file():
            raise ModelMissing(
                f"model '{name}': {folder / shard} is missing ({names[0]} names it); fetch it again"
            )
    return tuple(folder / shard for shard in shards)


def _vae(root: Path, name: str) -> Path:
    if root.name == "transformer" and (root.parent / "model_index.json").is_file():
        raise ModelMissing(f"model '{name}': is the transformer alone; give the folder above, {root.parent}")
    if (root / "vae").is_dir() and (lack := incomplete(root / "vae")):
        raise ModelMissing(f"model '{name}': {root / 'vae'} {lack}; fetch it again")
    path = find_vae(str(root))
    if path.is_dir():
        for file in sorted(path.glob("*.safetensors")):
            check_safetensors(file)
    elif _starts_as_zip(path) and not zipfile.is_zipfile(path):
        raise ModelBroken(f"model '{name}': {path} is cut short; fetch it again")
    return path


def _starts_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_CONFIG:
            raise ModelBroken(f"model '{name}': {path} is too large for a config")
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelBroken(f"model '{name}': {path} cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise ModelBroken(f"model '{name}': {path} is no JSON") from error
    if not isinstance(document, dict):
        raise ModelBroken(f"model '{name}': {path} is no JSON object")
    return document

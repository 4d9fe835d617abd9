"""From a config to an encoder, one a process for all stages that ask for the same."""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakValueDictionary

from stages.text.config import EncoderConfig
from stages.text.encoder import TextEncoder
from stages.text.layout import PARTS, find_language_model, find_umt5
from wanprep.errors import WanprepError
from wanprep.key import file_digest
from wanprep.models.device import check_extra
from wanprep.models.digest import files_digest
from wanprep.models.resolve import digest, missing, resolve

# Weak, so that an encoder's memory is free when the last stage that holds it is gone.
_ALIVE: WeakValueDictionary[object, TextEncoder] = WeakValueDictionary()


def model_digests(config: EncoderConfig) -> dict[str, str]:
    """Digests of what the encoder is made of: only its own files of a folder that holds a whole pipeline."""
    if config.backend == "hashed-ngram":
        return {}
    path = resolve(config.model, PARTS).path
    if config.backend == "transformers":
        model, tokenizer = find_language_model(path)
        if model == tokenizer:
            return {"encoder": digest(str(model))}
        return {"encoder": digest(str(model)), "tokenizer": files_digest(tokenizer)}
    files = find_umt5(path)
    return {"encoder": digest(str(files.weights)), "tokenizer": file_digest(str(files.tokenizer))}


def unavailable(config: EncoderConfig) -> str | None:
    """Why the encoder cannot run here, in one line."""
    if config.backend == "hashed-ngram":
        return None
    return check_extra("torch", "transformers", "tokenizers") or missing(config.model, PARTS)


def weight_bytes(config: EncoderConfig) -> int:
    """Memory that the weights take, by the size of their files; 0 where they are not on this machine."""
    try:
        path = resolve(config.model, PARTS).path
        place = find_umt5(path).weights if config.backend == "umt5" else find_language_model(path)[0]
    except WanprepError:
        return 0
    files = [place] if place.is_file() else place.glob("*.safetensors")
    # Published weights are in bfloat16.
    return sum(file.stat().st_size for file in files) * (2 if config.precision == "float32" else 1)


def make_encoder(config: EncoderConfig, digests: Mapping[str, str]) -> TextEncoder:
    """The encoder of a config. `digests` tell two models at one path apart."""
    key = (config.model_dump_json(include=set(EncoderConfig.model_fields)), *sorted(digests.items()))
    found = _ALIVE.get(key)
    if found is None:
        found = _ALIVE[key] = _made(config)
    return found


def _made(config: EncoderConfig) -> TextEncoder:
    if config.backend == "hashed-ngram":
        from schemas.tensor import numpy_dtype
        from stages.text.hashed import HashedEncoder

        return HashedEncoder(config.channels, config.limit, numpy_dtype(config.storage))
    path = resolve(config.model, PARTS).path
    if config.backend == "umt5":
        from stages.text.umt5 import Umt5Encoder

        return Umt5Encoder(
            find_umt5(path),
            device=config.device,
            precision=config.precision,
            storage=config.storage,
            limit=config.limit,
            batch=config.batch,
        )
    from stages.text.hidden_states import HiddenStateEncoder

    hidden = config.hidden
    return HiddenStateEncoder(
        *find_language_model(path),
        layer=hidden.layer,
        chat=hidden.chat,
        system=hidden.system,
        skip=hidden.skip,
        device=config.device,
        precision=config.precision,
        storage=config.storage,
        limit=config.limit,
        batch=config.batch,
    )

"""Keys: 128-bit BLAKE2b over everything that determines an artifact."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from schemas import SCHEMA_VERSION, ClipRecord
from wanprep.stage import Media, Stage

_BYTES = 16


def canonical_json(value: Any) -> str:
    """One text for equal values: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def text_digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_BYTES).hexdigest()


def config_fields(config: BaseModel) -> dict[str, Any]:
    """The fields of a config that enter the key, nested configs included."""
    fields: dict[str, Any] = {}
    for name, info in type(config).model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, Mapping) and extra.get("key") is False:
            continue
        value = getattr(config, name)
        if isinstance(extra, Mapping) and extra.get("key") == "changed" and value == info.default:
            continue
        fields[name] = config_fields(value) if isinstance(value, BaseModel) else _plain(config, name)
    return fields


def _plain(config: BaseModel, name: str) -> Any:
    plain = config.model_dump(mode="json", include={name})[name]
    # The order of a set differs from one process to the next.
    return sorted(plain, key=canonical_json) if isinstance(getattr(config, name), set | frozenset) else plain


def stage_spec(stage: Stage[Any]) -> dict[str, Any]:
    """What of a stage determines its artifacts, as plain data. Two equal specs make equal artifacts."""
    return {
        "stage": stage.name,
        "version": stage.version,
        "schema": SCHEMA_VERSION,
        "config": config_fields(stage.config),
        "models": dict(sorted(stage.models().items())),
    }


class KeyMaker:
    """Makes one stage's keys; hashing what is common to all clips once."""

    def __init__(self, stage: Stage[Any], upstream: Iterable[str]) -> None:
        self._prefix = hashlib.blake2b(canonical_json(stage_spec(stage)).encode(), digest_size=_BYTES)
        self.upstream = tuple(upstream)  # needs, and uses that the recipe has, in a fixed order
        self._video = Media.VIDEO in stage.reads
        self._audio = Media.AUDIO in stage.reads
        self._reference = Media.REFERENCE in stage.reads
        self._prompt = Media.PROMPT in stage.reads
        self._caption = Media.CAPTION in stage.reads
        self._subject = Media.SUBJECT in stage.reads
        self._reference_alone = Media.REFERENCE_ALONE in stage.reads

    def key(self, clip: ClipRecord, keys: Mapping[str, str]) -> str:
        """The key of this stage's artifact for a clip, given the keys of the stages before it."""
        # ASCII unit separators keep fields apart: none occurs in a digest or a number.
        text = ""
        if self._video or self._audio:
            text += f"\x1fvideo {clip.video_digest} {clip.start!r} {clip.end!r} {clip.fps!r} {clip.frames}"
        if self._audio:
            text += f"\x1faudio {clip.audio_digest}"
        if self._reference or (self._reference_alone and clip.video_digest is None):
            text += f"\x1freference {clip.reference_digest}"
        if self._prompt:
            text += f"\x1fprompt {text_digest(clip.prompt) if clip.prompt is not None else None}"
        if self._caption:
            given = clip.caption if clip.caption_error is None else f"error {clip.caption_error}"
            text += f"\x1fcaption {clip.caption_error is None} {text_digest(given) if given is not None else None}"
        if self._subject and clip.subject is not None:
            text += f"\x1fsubject {clip.subject}"
        for name in self.upstream:
            text += f"\x1f{keys[name]}"
        digest = self._prefix.copy()
        digest.update(text.encode())
        return digest.hexdigest()


def clip_key(clip: ClipRecord) -> str:
    """Key of the outcome of a clip that never came to its stages."""
    return text_digest(
        canonical_json(
            ["clip", clip.video or clip.audio, clip.video_digest, clip.start, clip.end, clip.why_not]
        )
    )


def file_digest(path: str) -> str:
    """BLAKE2b-128 of a local file's bytes, hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_BYTES)).hexdigest()

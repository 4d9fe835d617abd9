"""One generation: what determines its video, its key and the names of its files."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from wanprep.key import canonical_json, config_fields, text_digest

if TYPE_CHECKING:
    from wanprep_infer.output.soundtrack import Sound

VERSION = 1  # of what is common to all generators: how frames become a file
_SHORT_KEY = 8  # of a key's 32 digits in a file name: enough to tell a clip's generations apart

# Of the memory options, those that change pixels; the others move the same arithmetic elsewhere.
_PIXEL_OPTIONS = ("tile", "weights")


@dataclass(frozen=True)
class Request:
    """A generation that is wanted. `made_from` is all that determines the video, as plain data."""

    clip_id: str
    mode: str
    seed: int
    text_of: str | None  # the clip that the prompt is of; None: the clip's own
    segments: int
    steps: int  # of each segment
    made_from: dict[str, Any]

    @functools.cached_property
    def key(self) -> str:
        """BLAKE2b-128 of `made_from`, hex."""
        return text_digest(canonical_json(self.made_from))

    @property
    def stem(self) -> str:
        """The name of its files without their suffixes."""
        return f"{self.clip_id}--{self.mode}-s{self.seed}-{self.key[:_SHORT_KEY]}"

    def to_document(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Request:
        return cls(**document)


def made_from(
    *,
    generator: str,
    version: int,
    keys: Mapping[str, str],
    models: Mapping[str, str],
    loras: Sequence[tuple[str, float]],
    settings: Mapping[str, Any],
    seed: int,
    precision: str,
    memory: BaseModel,
    frames: int,
    sound: tuple[str, Sound] | None,
) -> dict[str, Any]:
    """All that determines a video, as plain data. Device, offloading, paths and the store are not in it: they change
    where and when the same thing is computed.

    Args:
        keys: artifact -> key, of the artifacts that are used, the prompt's embedding among them.
        models: part -> digest.
        loras: digest and scale of each, in the order in which they are attached.
        settings: those that change frames.
        frames: how many there are; the length of a file that is not in `keys` may decide it.
        sound: what is put into the video, after the digest of its file; None: it is silent.
    """
    memory_fields = config_fields(memory)
    return {
        "generator": generator,
        "version": [VERSION, version],
        "artifacts": dict(sorted(keys.items())),
        "models": dict(sorted(models.items())),
        "loras": [[digest, scale] for digest, scale in loras],
        "settings": dict(settings),
        "seed": seed,
        "precision": precision,
        "memory": {name: memory_fields[name] for name in _PIXEL_OPTIONS if name in memory_fields},
        "frames": frames,
        "sound": None if sound is None else [sound[0], sound[1].start, sound[1].seconds, sound[1].delay],
    }

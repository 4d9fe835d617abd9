"""Which clips of a store are meant, and clips with the prompt of another."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from wanprep.errors import StoreError, UsageError
from wanprep.hints import did_you_mean
from wanprep.store.clip import StoredClip
from wanprep.store.store import Store

ALL = "all"
_GLOB = re.compile(r"[*?\[]")


def choose_clips(store: Store, wanted: str | Iterable[str], option: str = "--clip") -> list[StoredClip]:
    """The clips of these names, each once, in the order given.

    Args:
        wanted: one or several: ids, beginnings of ids, patterns with `*`, `?` or `[...]`, or `all`. A clip that is
            called exactly so comes before any other meaning.
        option: where they were given, for messages.

    Raises:
        UsageError: a name fits no clip, or is the beginning of several.
    """
    ids = [record.clip_id for record in store.clip_records()]
    if not ids:
        raise UsageError(f"store {store.files.root}: holds no clip; make some with `wanprep run`")
    known = set(ids)
    chosen: dict[str, None] = {}
    for name in [wanted] if isinstance(wanted, str) else wanted:
        chosen.update(dict.fromkeys([name] if name in known else _meant(store, name, ids, option)))
    return [store.clip(name) for name in chosen]


def _meant(store: Store, name: str, ids: Sequence[str], option: str) -> list[str]:
    if name == ALL:
        return list(ids)
    if _GLOB.search(name):
        found = [clip for clip in ids if fnmatchcase(clip, name)]
        if not found:
            raise UsageError(
                f"{option} '{name}': fits no clip of store {store.files.root}{did_you_mean(name, ids)} "
                "(see `wanprep status`)"
            )
        return found
    if not name:
        raise UsageError(f"{option} '': is empty; give an id, how it begins, a pattern, or all")
    try:
        return [store.clip(name).id]
    except StoreError as error:
        raise UsageError(f"{option} {name}: {error}") from error


def with_text_of(store: Store, clip: StoredClip, other: StoredClip) -> StoredClip:
    """`clip` with the prompt of another clip of the store, and so with its text embedding.

    Raises:
        MissingArtifact: the other clip has no text embedding; says why.
    """
    _ = other.text  # asked for here, so that what it lacks is said of it and not of `clip`
    record = dataclasses.replace(
        clip.record,
        prompt=other.record.prompt,
        caption=other.record.caption,
        caption_error=other.record.caption_error,
        keys={**clip.record.keys, "text": other.record.keys["text"]},
    )
    return StoredClip(store, record)

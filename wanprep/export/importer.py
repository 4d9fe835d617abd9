"""Reads clips that other tools, or an export, have left as folders, into a store.

An imported artifact's key is `import-` and 25 hex digits of a digest over: which importer, its version, the stage, and
the content of the files that the artifact was read from. So the same files give the same keys wherever they lie, and
no run of a recipe ever takes an imported artifact for its own.
"""

from __future__ import annotations

import functools
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

from schemas import SCHEMA_VERSION, ClipRecord, MediaRecord, Record
from wanprep import registry
from wanprep.engine.progress import Reporter, silent
from wanprep.errors import StoreError, UsageError, WanprepError
from wanprep.key import canonical_json, text_digest
from wanprep.media.source import reason
from wanprep.store import layout
from wanprep.store.shard import ShardWriter
from wanprep.store.store import Store
from wanprep.timeline import longest_4n1

_PREFIX = "import-"
_KEY_DIGITS = 32  # of every key of a store


@dataclass(frozen=True, slots=True)
class Found:
    """A record and the digests of the files that it was read from, by name."""

    record: Record
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ReadClip:
    """What an importer found in a folder. `video` has frames; `reference` is a picture."""

    video: MediaRecord
    reference: MediaRecord | None = None
    prompt: str | None = None
    records: dict[str, Found] = field(default_factory=dict)  # by stage
    lacking: dict[str, str] = field(default_factory=dict)  # stage or file -> why it cannot be had


#: Reads one folder; None: it is none of this kind. The second folder is scratch space that lasts until all is stored.
Import: TypeAlias = Callable[[Path, Path], ReadClip | None]


@dataclass
class ImportSummary:
    """What became of each folder."""

    store: str
    clips: dict[str, list[str]] = field(default_factory=dict)  # clip id -> stages, new in the store
    already: dict[str, list[str]] = field(default_factory=dict)
    lacking: dict[str, dict[str, str]] = field(default_factory=dict)  # clip id -> what -> why
    left_out: dict[str, str] = field(default_factory=dict)  # folder -> why
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Target:
    """A store, and the newest rows in it."""

    store: Store
    media: dict[str, MediaRecord]
    clips: dict[str, ClipRecord]


def import_clips(
    kind: str,
    folder: str | os.PathLike[str],
    store: str | os.PathLike[str],
    *,
    progress: Reporter | None = None,
) -> ImportSummary:
    """Reads a clip's folder, or each folder in `folder` that is one. Folders stay where they are, and must: a clip of
    the store names the videos in them.

    Raises:
        UsageError: no such importer, no such folder, or none of this kind in it.
        StoreError: the store cannot be written.
    """
    progress = progress or silent()
    read = registry.importer(kind)
    root = Path(folder)
    if not root.is_dir():
        raise UsageError(f"{root}: is no folder")
    started = time.monotonic()
    run = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}{secrets.token_hex(2)}"

    @functools.cache
    def opened() -> _Target:
        """The store, not made before there is something to put into it."""
        made = Store.create(os.fspath(store), run=run, created_by=f"wanprep {version('wanprep')}")
        return _Target(made, made.media_records(), {clip.clip_id: clip for clip in made.clip_records()})

    summary = ImportSummary(os.fspath(store))
    # The folder is a clip's own, or else holds such.
    alone = _import_one(kind, read, root, opened, summary)
    folders = [] if alone else list(_folders(root))
    progress.begin(len(folders), 0)
    try:
        for place in folders:
            taken = _import_one(kind, read, place, opened, summary)
            progress.clips(1, int(not taken), int(str(place) in summary.left_out))
    finally:
        progress.end()
    if not (summary.clips or summary.already or summary.left_out):
        raise UsageError(f"{root}: is no folder of {kind}, and holds none")
    summary.seconds = time.monotonic() - started
    return summary


def import_key(kind: str, stage: str, files: Mapping[str, str]) -> str:
    """The key of an imported artifact, given the digests of its files."""
    text = canonical_json(["import", kind, SCHEMA_VERSION, stage, sorted(files.values())])
    return _PREFIX + text_digest(text)[: _KEY_DIGITS - len(_PREFIX)]


def _folders(root: Path) -> Iterator[Path]:
    # A name that begins with a dot is an export that was never finished.
    yield from sorted(
        Path(entry.path)
        for entry in os.scandir(root)
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
    )


def _import_one(
    kind: str, read: Import, place: Path, target: Callable[[], _Target], summary: ImportSummary
) -> bool:
    """Whether the folder is of this kind; what became of it goes into `summary`."""
    with tempfile.TemporaryDirectory(prefix="wanprep-") as scratch:
        try:
            found = read(place, Path(scratch))
            if found is None:
                return False
            row = _clip(kind, place, found)
            fresh = _store(kind, target(), row, found)
        except StoreError:
            raise
        except WanprepError as error:
            summary.left_out[str(place)] = str(error)
            return True
        except OSError as error:
            summary.left_out[str(place)] = f"cannot be read ({reason(error)})"
            return True
        (summary.clips if fresh else summary.already)[row.clip_id] = sorted(found.records)
        summary.lacking[row.clip_id] = found.lacking
        return True


def _clip(kind: str, place: Path, found: ReadClip) -> ClipRecord:
    video, reference = found.video, found.reference
    digests = {video.digest, *(digest for item in found.records.values() for digest in item.files.values())}
    if reference is not None:
        digests.add(reference.digest)
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", place.resolve().name).strip("._-")[:64] or "clip"
    # Never the id of the clip that was exported: the newest row of an id counts, and that one is its own clip.
    identity = text_digest(canonical_json([kind, str(place.resolve()), *sorted(digests)]))
    return ClipRecord(
        clip_id=f"{name}-import-{identity[:12]}",
        recipe=text_digest(canonical_json(_recipe(kind))),
        video=video.uri,
        video_digest=video.digest,
        reference=reference.uri if reference else None,
        reference_digest=reference.digest if reference else None,
        prompt=found.prompt,
        end=video.seconds,
        fps=video.fps,
        frames=video.frames or 0,
        frames_4n1=longest_4n1(video.frames or 0),
        width=video.width,
        height=video.height,
        source_fps=video.fps,
        variable_rate=video.variable_rate,
        keys={stage: import_key(kind, stage, item.files) for stage, item in found.records.items()},
    )


def _recipe(kind: str) -> dict[str, object]:
    return {"import": kind, "stages": {}}


def _store(kind: str, target: _Target, row: ClipRecord, found: ReadClip) -> bool:
    """Commits what the store does not have; False when it had everything."""
    store = target.store
    fresh = False
    for stage, item in found.records.items():
        key = row.keys[stage]
        if store.index(stage).find(key) is not None:
            continue
        with ShardWriter(
            store.files,
            stage,
            layout.shard_name([key]),
            type(item.record),
            rows=1,
            metadata={"wanprep.import": kind, "wanprep.schema": str(SCHEMA_VERSION)},
        ) as writer:
            writer.add(key, row.clip_id, item.record)
            writer.commit()
        fresh = True
    media = [item for item in (found.video, found.reference) if item is not None]
    if new := [item for item in media if target.media.get(item.uri) != item]:
        store.write_rows(layout.MEDIA, MediaRecord, new, [f"{item.uri} {item.digest}" for item in new])
        target.media.update({item.uri: item for item in new})
    recipe_file = f"{layout.RECIPES}/{row.recipe}.json"
    if not store.files.exists(recipe_file):
        store.files.write_bytes(recipe_file, canonical_json(_recipe(kind)).encode())
    last = target.clips.get(row.clip_id)
    if last is None or replace(last, created_ns=0) != row:
        now_ns = max(time.time_ns(), last.created_ns + 1 if last else 0)
        stored = replace(row, created_ns=now_ns)
        store.write_rows(layout.CLIPS, ClipRecord, [stored], [f"{row.clip_id} {row.recipe} {now_ns}"])
        target.clips[row.clip_id] = stored
        fresh = True
    return fresh

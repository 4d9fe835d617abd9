"""Exports clips of a store, one folder a clip, whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
from pydantic import ValidationError

from wanprep import registry
from wanprep.engine.progress import Reporter, silent
from wanprep.errors import UsageError, WanprepError
from wanprep.export.exporter import Exporter
from wanprep.export.folder import sweep, whole_folder
from wanprep.hints import did_you_mean
from wanprep.key import canonical_json, file_digest, text_digest
from wanprep.media.source import is_remote, local_path, reason
from wanprep.store import layout
from wanprep.store.clip import StoredClip
from wanprep.store.store import Store

MANIFEST = "manifest.json"
_MANIFEST_CHARS = 4 << 20
# Trouble of the disk, not of the clip: it will not go better with the next one.
_FATAL_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.EACCES})
# What artifacts that do not fit their clip make of arithmetic.
_UNFIT = (ValueError, TypeError, IndexError, ArithmeticError, KeyError, OSError, cv2.error, pa.ArrowException)


@dataclass
class ExportSummary:
    """What became of each clip."""

    folder: str
    written: list[str] = field(default_factory=list)
    already: list[str] = field(
        default_factory=list
    )  # their folders were there and still hold what they would
    left_out: dict[str, str] = field(default_factory=dict)  # clip id -> reason
    frames: int = 0  # written
    seconds: float = 0.0


def export(
    store: str | os.PathLike[str],
    to: str,
    out: str | os.PathLike[str],
    *,
    clips: Iterable[str] = (),
    options: Mapping[str, Any] | None = None,
    progress: Reporter | None = None,
) -> ExportSummary:
    """Writes clips as folders OUT/<clip id>. A folder that is there and up to date stays; run it again to go on.

    Args:
        store: folder or bucket address.
        to: name of an exporter, such as `wan22`.
        out: a local folder; made when it is not there.
        clips: ids, or how they begin; none: all clips.
        options: the exporter's options.

    Returns:
        What was written, and what was left out with the reason. A clip that cannot be exported is no error.

    Raises:
        UsageError: no such exporter or option; `out` is remote.
        StoreError: the store cannot be read, or has no such clip.
        WanprepError: `out` cannot be written to.
    """
    progress = progress or silent()
    exporter = make_exporter(to, options or {})
    if is_remote(os.fspath(out)):
        raise UsageError(f"{os.fspath(out)}: exports go to a local folder")
    folder = Path(local_path(os.fspath(out)))
    opened = Store.open(os.fspath(store))
    chosen = [opened.clip(name) for name in clips] or list(opened.clips())
    chosen = list({clip.id: clip for clip in chosen}.values())
    summary = ExportSummary(str(folder))
    started = time.monotonic()
    progress.begin(len(chosen), sum(clip.record.frames for clip in chosen))
    try:
        sweep(folder)
        for clip in chosen:
            _export_clip(exporter, opened, clip, folder, summary, progress)
    except OSError as error:
        raise WanprepError(f"{folder}: cannot be written ({reason(error)})") from error
    finally:
        progress.end()
    summary.seconds = time.monotonic() - started
    return summary


def make_exporter(name: str, options: Mapping[str, Any]) -> Exporter[Any]:
    """The exporter of this name with these options.

    Raises:
        UsageError: there is none, or an option is unknown or wrong.
    """
    made = registry.exporter(name)
    try:
        return made(made.Options.model_validate(dict(options)))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = list(made.Options.model_fields)
            raise UsageError(
                f"exporter {name}: unknown option '{path}'{did_you_mean(path, known)} (options: {', '.join(known)})"
            ) from error
        raise UsageError(
            f"exporter {name}, {path}: {problem['msg'].lower()}, not {problem['input']!r}"
        ) from error


def _export_clip(
    exporter: Exporter[Any],
    store: Store,
    clip: StoredClip,
    folder: Path,
    summary: ExportSummary,
    progress: Reporter,
) -> None:
    try:
        target = folder / layout.checked(clip.id)
        made_from = _made_from(exporter, store, clip)
        if _up_to_date(target, made_from):
            summary.already.append(clip.id)
            progress.frames(clip.record.frames)
            progress.clips(1, 0, 0)
            return
        with whole_folder(target) as temporary:
            written = exporter.write(store, clip, temporary, progress.frames)
            _write_manifest(temporary, clip, made_from, written.facts)
    except WanprepError as error:
        summary.left_out[clip.id] = str(error).removeprefix(f"clip {clip.id}: ")
        progress.clips(1, 1, 0)
        return
    except _UNFIT as error:
        if isinstance(error, OSError) and error.errno in _FATAL_ERRORS:
            raise
        said = " ".join(str(error).split())[:300] or type(error).__name__
        summary.left_out[clip.id] = f"an artifact does not fit the clip ({said}); see `wanprep verify`"
        progress.clips(1, 0, 1)
        return
    summary.written.append(clip.id)
    summary.frames += written.frames
    progress.clips(1, 0, 0)


def _made_from(exporter: Exporter[Any], store: Store, clip: StoredClip) -> dict[str, Any]:
    """All that determines a clip's folder."""
    row = clip.record
    document = store.recipe_document(row.recipe) or {}
    stages = document.get("stages")
    return {
        "exporter": exporter.name,
        "version": exporter.version,
        "options": exporter.options.model_dump(mode="json"),
        "clip": {
            "id": row.clip_id,
            "video": row.video,
            "video_digest": row.video_digest,
            "reference": row.reference,
            "reference_digest": row.reference_digest,
            "start": row.start,
            "end": row.end,
            "fps": row.fps,
            "frames": row.frames,
            "prompt": row.prompt,
        },
        "keys": dict(row.keys),
        "settings": stages if isinstance(stages, dict) else {},
    }


def _up_to_date(target: Path, made_from: Mapping[str, Any]) -> bool:
    """Whether the folder is there and holds this.

    Raises:
        WanprepError: there is a folder of that name that is no export, so it is not replaced.
    """
    if not target.exists():
        return False
    path = target / MANIFEST
    try:
        if path.stat().st_size > _MANIFEST_CHARS:
            raise ValueError("too long")
        manifest = json.loads(path.read_text(encoding="utf-8"))
        before = manifest["made_from"]
        digest = text_digest(canonical_json(before))
        sizes = {name: about["bytes"] for name, about in manifest["files"].items()}
        found = {entry.name: entry.stat().st_size for entry in os.scandir(target) if entry.name != MANIFEST}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WanprepError(
            f"{target}: is there and no export of wanprep; move it or export elsewhere"
        ) from error
    return digest == text_digest(canonical_json(made_from)) and found == sizes


def _write_manifest(
    folder: Path, clip: StoredClip, made_from: Mapping[str, Any], facts: Mapping[str, Any]
) -> None:
    files = {
        entry.name: {"bytes": entry.stat().st_size, "blake2b": file_digest(entry.path)}
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name)
    }
    manifest = {"wanprep": version("wanprep"), "id": clip.id, **facts, "files": files, "made_from": made_from}
    (folder / MANIFEST).write_text(
        json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", errors="surrogatepass"
    )

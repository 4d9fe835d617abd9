"""What the user names, as clips: a file, a folder, a glob, or a manifest."""

from __future__ import annotations

import glob
import math
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TextIO

from wanprep.errors import UsageError
from wanprep.hints import did_you_mean
from wanprep.key import canonical_json, text_digest
from wanprep.media.source import is_remote, local_path, refusal
from wanprep.remote import cause, is_client_trouble, scrub
from wanprep.side_car import NONE, Given, is_side_car, read_remote, read_side_car
from wanprep.subject import canonical_subject

_CONTAINERS = "mp4 mov m4v mkv webm avi mpg mpeg ts m2ts mts wmv flv 3gp ogv gif h264 hevc"
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _CONTAINERS.split())
_SOUNDS = "wav mp3 m4a aac flac ogg oga opus wma aif aiff ac3 mka"
AUDIO_SUFFIXES = frozenset(f".{name}" for name in _SOUNDS.split())
MANIFEST_SUFFIXES = (".csv", ".jsonl", ".parquet")
MANIFEST_COLUMNS = ("video", "reference", "audio", "prompt", "start", "end", "id", "caption", "subject")
_SLIP = 0.8  # likeness from which an unknown column is one of ours misspelt
_LINE_CHARS = 1 << 20  # of a manifest's line
_TEXT_CHARS = 64 << 10  # of a manifest's field; a prompt of a page has some thousand
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputClip:
    """One line of work as the user gave it. Addresses are absolute; times are seconds."""

    clip_id: str
    video: str | None = None
    reference: str | None = None
    audio: str | None = None
    prompt: str | None = None
    start: float = 0.0
    end: float | None = None
    caption: str | None = None
    caption_error: str | None = None  # why the text file beside the video is no caption
    subject: str | None = None  # as `wanprep.subject.canonical_subject` writes it


@dataclass(frozen=True, slots=True)
class Inputs:
    """The clips, and what was left out of them."""

    clips: list[InputClip]
    ignored: int = 0  # files in folders that are no video by their name, and no video's caption
    repeated: int = 0  # inputs given twice


def read_inputs(
    sources: Iterable[str | os.PathLike[str]],
    *,
    reference: str | os.PathLike[str] | None = None,
    audio: str | os.PathLike[str] | None = None,
    prompt: str | None = None,
) -> Inputs:
    """All clips of the named files, folders, globs and manifests, in a stable order.

    Args:
        sources: what holds the clips.
        reference: the reference picture of every clip that a manifest gives none of its own.
        audio: the same for the sound, from a sound file or a video with sound.
        prompt: the same for the prompt.

    Raises:
        UsageError: nothing is there, a manifest is malformed, two clips have one id, or `audio` is given to a clip
            that is a sound file itself.
    """
    given = _given(reference, audio, prompt)
    clips: list[InputClip] = []
    captions: dict[str, Given] = {}
    ignored = 0
    for source in sources:
        text = local_path(os.fspath(source))
        suffix = os.path.splitext(text)[1].lower()
        if suffix in MANIFEST_SUFFIXES:
            clips.extend(_manifest(text, suffix, given))
            continue
        found, left_out = _paths(text, captions)
        ignored += left_out
        clips.extend(_named(path, given) for path in found)
    clips = [_captioned(clip, captions) for clip in clips]
    unique: dict[str, InputClip] = {}
    repeated = 0
    for clip in clips:
        known = unique.setdefault(clip.clip_id, clip)
        if known is not clip:
            if known != clip:
                raise UsageError(f"two different clips have the id '{clip.clip_id}': give each its own")
            repeated += 1
    if not unique:
        raise UsageError("no clips: the inputs name no video file, no folder with videos and no manifest row")
    return Inputs(list(unique.values()), ignored, repeated)


def _given(
    reference: str | os.PathLike[str] | None, audio: str | os.PathLike[str] | None, prompt: str | None
) -> dict[str, str]:
    """What was said of all clips at once, checked as a manifest's fields are."""
    given: dict[str, str] = {}
    for role, path in (("reference", reference), ("audio", audio)):
        if path is None:
            continue
        address = os.fspath(path)
        if why_not := refusal(address):
            raise UsageError(f"{role} {address}: {why_not}")
        given[role] = _address(address)
        if not is_remote(address) and not os.path.isfile(local_path(address)):
            raise UsageError(f"{role} {address}: there is no such file")
    if prompt is not None:
        if "\0" in prompt or len(prompt) > _TEXT_CHARS:
            raise UsageError(f"the prompt holds a NUL character or is longer than {_TEXT_CHARS:,} characters")
        given["prompt"] = prompt
    return given


def _named(path: str, given: Mapping[str, str]) -> InputClip:
    sound = _is_audio(path)
    if sound and "audio" in given:
        raise UsageError(
            f"{path}: is a sound file, and audio {given['audio']} is given for it too; leave one of the two out"
        )
    return _clip(
        video=None if sound else path,
        audio=path if sound else given.get("audio"),
        reference=given.get("reference"),
        prompt=given.get("prompt"),
    )


def _captioned(clip: InputClip, known: dict[str, Given]) -> InputClip:
    """The clip with the caption of the text file beside its video, unless it has one of its own. `known` keeps what
    was read, by video: a manifest may name one many times."""
    if clip.video is None or clip.caption is not None:
        return clip
    if clip.video not in known:
        known[clip.video] = read_side_car(clip.video)
    given = known[clip.video]
    return clip if given == NONE else replace(clip, caption=given.text, caption_error=given.error)


def _paths(text: str, captions: dict[str, Given]) -> tuple[list[str], int]:
    """The videos, and how many files were left out; of a remote folder the captions too."""
    if is_remote(text):
        return _remote_paths(text, captions)
    if os.path.isfile(text):
        return [_address(text)], 0
    if os.path.isdir(text):
        return _folder(text)
    matches = sorted(glob.glob(text, recursive=True))
    if matches:
        found: list[str] = []
        ignored = 0
        stems = {os.path.splitext(match)[0] for match in matches if _is_video(match)}
        for match in matches:
            if os.path.isdir(match):
                inside, left_out = _folder(match)
                found += inside
                ignored += left_out
            elif _is_video(match) or (_is_audio(text) and _is_audio(match)):
                found.append(_address(match))
            else:
                ignored += not is_side_car(match, stems)
        return found, ignored
    parent = os.path.dirname(text) or "."
    near = did_you_mean(os.path.basename(text), os.listdir(parent)) if os.path.isdir(parent) else ""
    raise UsageError(f"{text}: there is no such file or folder, and as a pattern it matches nothing{near}")


def _folder(folder: str) -> tuple[list[str], int]:
    found: list[str] = []
    ignored = 0
    # Links to folders are not followed, so that a loop of links ends; hidden folders hold thumbnails and waste.
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        videos = sorted(filter(_is_video, names))
        found += [_address(os.path.join(where, name)) for name in videos]
        stems = {os.path.splitext(name)[0] for name in videos}
        ignored += len(names) - len(videos) - sum(is_side_car(name, stems) for name in names)
    return found, ignored


def _is_video(path: str) -> bool:
    """Whether a file found in a folder is one of its videos, by its name; hidden files are none."""
    name = os.path.basename(path)
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES and not name.startswith(".")


def _is_audio(path: str) -> bool:
    """Whether a file that was named, or a pattern's, is sound alone. In folders sound beside videos is no clip."""
    return os.path.splitext(path)[1].lower() in AUDIO_SUFFIXES


def _remote_paths(text: str, captions: dict[str, Given]) -> tuple[list[str], int]:
    import fsspec

    try:
        fs, path = fsspec.core.url_to_fs(text)
        sizes: dict[str, int] = {}
        if glob.has_magic(path):
            names = sorted(fs.glob(path))
        elif fs.isdir(path):
            sizes = {name: int(about["size"] or 0) for name, about in fs.find(path, detail=True).items()}
            names = sorted(sizes)
        else:
            names = [path]
        videos = [name for name in names if _is_video(name) or (_is_audio(path) and _is_audio(name))]
        given = read_remote(fs, videos, sizes)
    except Exception as error:
        if not isinstance(error, OSError | ValueError | ImportError) and not is_client_trouble(error):
            raise
        raise UsageError(f"{text}: cannot be listed: {cause(error)}") from error
    captions.update((fs.unstrip_protocol(name), caption) for name, caption in given.items())
    stems = {os.path.splitext(name)[0] for name in videos}
    ignored = len(names) - len(videos) - sum(is_side_car(name, stems) for name in names)
    return [fs.unstrip_protocol(name) for name in videos], ignored


def _address(path: str, folder: str | None = None) -> str:
    """An absolute path, or a remote address as it is. Names that are no UTF-8 become file:// addresses."""
    if is_remote(path):
        return path
    path = local_path(path)
    full = os.path.abspath(os.path.join(folder, path) if folder else path)
    try:
        full.encode("utf-8")
    except UnicodeEncodeError:
        return "file://" + urllib.parse.quote_from_bytes(os.fsencode(full))
    return full


def _clip(
    *,
    video: str | None = None,
    reference: str | None = None,
    audio: str | None = None,
    prompt: str | None = None,
    start: float = 0.0,
    end: float | None = None,
    subject: str | None = None,
    clip_id: str | None = None,
) -> InputClip:
    clip = InputClip(
        clip_id="",
        video=video,
        reference=reference,
        audio=audio,
        prompt=prompt,
        start=start,
        end=end,
        subject=subject,
    )
    if clip_id is None:
        # Of one video each of its people may be a clip.
        of_whom = [] if subject is None else [subject]
        identity = text_digest(canonical_json([video, reference, audio, prompt, start, end, *of_whom]))
        stem = os.path.splitext(os.path.basename(video or audio or reference or "prompt"))[0]
        safe = re.sub(r"[^A-Za-z0-9._-]+", "_", stem).strip("._-")[:64] or "clip"
        # 48 bits: of a million videos called alike, one time in 600 two get the same id.
        clip_id = f"{safe}-{identity[:12]}"
    return replace(clip, clip_id=clip_id)


def _manifest(path: str, suffix: str, given: Mapping[str, str]) -> Iterator[InputClip]:
    folder = os.path.dirname(os.path.abspath(path)) if not is_remote(path) else None
    for where, row in _rows(path, suffix):
        yield _from_row(row, folder, f"{path}, {where}", given)


def _rows(path: str, suffix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row, and which it is in words; blank lines are none."""
    import csv
    import json

    import fsspec

    try:
        if suffix == ".parquet":
            import pyarrow.parquet as pq

            with fsspec.open(path, "rb") as file:
                table = pq.read_table(file)
            _check_columns(table.column_names, path)
            yield from ((f"row {number}", row) for number, row in enumerate(table.to_pylist(), start=1))
            return
        with fsspec.open(path, "rt", encoding="utf-8-sig", newline="") as file:
            if suffix == ".csv":
                reader = csv.DictReader(_lines(file, path))
                _check_columns(reader.fieldnames or [], path)
                for number, row in enumerate(reader, start=1):
                    if None in row:
                        raise UsageError(
                            f"{path}, row {number}: has more fields than columns; quote text with commas"
                        )
                    yield f"row {number}", row
                return
            for number, line in enumerate(_lines(file, path), start=1):
                if line.strip():
                    try:
                        row = json.loads(line)
                    except (ValueError, RecursionError) as error:
                        raise UsageError(f"{path}, line {number}: is not valid JSON ({error})") from error
                    if not isinstance(row, dict):
                        raise UsageError(
                            f'{path}, line {number}: each line is an object such as {{"video": ...}}'
                        )
                    _check_columns(row, f"{path}, line {number}")
                    yield f"line {number}", row
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(
            f"{path}: is not a readable manifest ({type(error).__name__}: {scrub(str(error))})"
        ) from error
    except Exception as error:
        if not is_client_trouble(error):
            raise
        raise UsageError(f"{path}: is not a readable manifest: {cause(error)}") from error


def _lines(file: TextIO, path: str) -> Iterator[str]:
    """The lines of a text file, none longer than `_LINE_CHARS`: one line must not fill the memory."""
    number = 0
    while line := file.readline(_LINE_CHARS + 1):
        number += 1
        if len(line) > _LINE_CHARS:
            raise UsageError(f"{path}, line {number}: is longer than {_LINE_CHARS:,} characters")
        yield line


def _check_columns(columns: Iterable[str], path: str) -> None:
    names = [str(column) for column in columns]
    absent = set(MANIFEST_COLUMNS) - set(names)
    for name in names:
        # Columns of others are welcome: only what is nearly one of ours is a slip of the pen.
        if name not in MANIFEST_COLUMNS and (hint := did_you_mean(name.strip().lower(), absent, _SLIP)):
            raise UsageError(f"{path}: unknown column '{name}'{hint}")
    if not {"video", "audio", "reference", "prompt"} & set(names):
        raise UsageError(
            f"{path}: a manifest has a column 'video' (and may have {', '.join(MANIFEST_COLUMNS[1:])})"
        )


def _from_row(row: Mapping[str, Any], folder: str | None, where: str, given: Mapping[str, str]) -> InputClip:
    def text(name: str) -> str | None:
        value = row.get(name)
        if isinstance(value, list | dict | bytes):
            raise UsageError(f"{where}: {name} is a {type(value).__name__}, not one text or number")
        if value is None or value == "" or value != value:
            return None
        if len(said := str(value)) > _TEXT_CHARS:
            raise UsageError(f"{where}: {name} is longer than {_TEXT_CHARS:,} characters")
        if "\0" in said:
            raise UsageError(f"{where}: {name} holds a NUL character")
        return said

    def seconds(name: str) -> float | None:
        value = text(name)
        if value is None:
            return None
        try:
            number = float(value)
        except ValueError as error:
            raise UsageError(f"{where}: {name} is '{value}', not a number of seconds") from error
        if not math.isfinite(number) or number < 0:
            raise UsageError(f"{where}: {name} is {value}; it is a time in seconds from 0 on")
        return number

    def address(name: str) -> str | None:
        value = text(name)
        if value is not None and (why_not := refusal(value)):
            raise UsageError(f"{where}: {name}: {why_not}")
        return None if value is None else _address(value, folder)

    def subject() -> str | None:
        value = text("subject")
        if value is None:
            return None
        if text("video") is None:
            raise UsageError(
                f"{where}: subject says whom of a video's people is meant, and there is no video"
            )
        try:
            return canonical_subject(value)
        except ValueError as error:
            raise UsageError(f"{where}: subject {error}") from error

    media = {name: uri for name in ("video", "reference", "audio") if (uri := address(name))}
    clip_id = text("id")
    if clip_id is not None and not _ID.fullmatch(clip_id):
        raise UsageError(
            f"{where}: id '{clip_id}' may hold letters, digits, '.', '_' and '-' only, 128 at most"
        )
    start, end = seconds("start") or 0.0, seconds("end")
    if end is not None and end <= start:
        raise UsageError(f"{where}: end {end:g} s is not after start {start:g} s")
    if not media and text("prompt") is None:
        raise UsageError(f"{where}: is empty; give at least a video, an audio file, a reference or a prompt")
    own = {**media, "prompt": prompt} if (prompt := text("prompt")) is not None else media
    clip = _clip(**{**given, **own}, start=start, end=end, subject=subject(), clip_id=clip_id)
    # Not part of what an id is made from: another caption is another caption of the same clip.
    return replace(clip, caption=(text("caption") or "").strip() or None)

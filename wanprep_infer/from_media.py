"""Generation from media: what a generator needs is prepared into a store of the moment, then the same job runs."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wanprep.engine.progress import Reporter
from wanprep.errors import UsageError
from wanprep.inputs import InputClip, read_inputs
from wanprep.key import text_digest
from wanprep.runner import run
from wanprep.store.store import Store
from wanprep_infer.output.whole_file import writing

_PIECE = re.compile(r"(?P<clip>.+)-s\d{4}")  # of a video that the timeline splits
_TEXT_BYTES = 64 << 10  # to be spoken; a page has some thousand


@dataclass(frozen=True, kw_only=True)
class Media:
    """What is generated from, and how it is prepared. Paths and addresses as for `wanprep run`."""

    inputs: Sequence[str]
    reference: str | None = None
    prompt: str | None = None
    audio: str | None = None
    models: str | None = None  # folder of the encoders' checkpoints
    overrides: Sequence[str] = ()  # stage.field=value


@contextmanager
def prepared(
    media: Media, preset: str, keep: str | None, progress: Reporter
) -> Iterator[tuple[str, list[str]]]:
    """A store with the media's conditioning, and the ids of its clips. A temporary one goes with the block.

    Args:
        preset: the recipe that makes what the generator takes.
        keep: a folder for the store; it stays, and what it holds already is not made again. None: a temporary one.

    Raises:
        UsageError: bad inputs or settings, or an encoder's checkpoint is not there.
        StoreError: the store cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="wanprep-infer-") as scratch:
        store = keep if keep is not None else os.path.join(scratch, "store")
        given: dict[str, Any] = {"reference": media.reference, "audio": media.audio, "prompt": media.prompt}
        wanted = read_inputs(media.inputs, **given).clips
        run(
            media.inputs,
            store=store,
            preset=preset,
            overrides=media.overrides,
            models=media.models,
            **given,
            engine="inline",
            retry_failed=True,
            progress=progress,
        )
        made = _ids(store, wanted)
        if not made:
            raise UsageError("--from-media: no clip came of what was given")
        yield store, made


def speech(command: str, inputs: Iterable[str], out: Path) -> list[str]:
    """The sound files that a program makes of text files, in `out`. A file that the same command has made of the same
    text is taken as it is.

    Args:
        command: see `wanprep_infer.s2v.tts.speak`.
        inputs: text files, UTF-8.

    Raises:
        UsageError: no text file, or the command is wrong.
        SpeechFailed: the program made no sound.
    """
    from wanprep_infer.s2v.tts import speak

    spoken = []
    for name in inputs:
        text = _text(name)
        identity = text_digest(f"{command}\x1f{text}")
        path = out / f"{Path(name).stem}-{identity[:8]}.wav"
        if not path.is_file():
            with writing(path) as temporary:  # what a program that fails has written is not speech
                speak(command, text, temporary)
        spoken.append(str(path))
    return spoken


def _text(name: str) -> str:
    path = Path(name)
    try:
        if path.stat().st_size > _TEXT_BYTES:
            raise UsageError(f"--from-media {name}: has more than {_TEXT_BYTES:,} bytes; speak it in parts")
        return path.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise UsageError(f"--from-media {name}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"--from-media {name}: is no UTF-8 text; with --tts-command give the text that is spoken"
        ) from error


def _ids(store: str, wanted: Sequence[InputClip]) -> list[str]:
    """The inputs' clips in the store, pieces of split videos among them; a store that is kept may hold others."""
    names = {clip.clip_id for clip in wanted}
    found = []
    for record in Store.open(store).clip_records():
        piece = _PIECE.fullmatch(record.clip_id)
        if record.clip_id in names or (piece is not None and piece["clip"] in names):
            found.append(record.clip_id)
    return found

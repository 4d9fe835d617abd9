"""Files that a generation reads again, such as a clip's sound: what the store knows of them, and whether they are
still what the clip was prepared from."""

from __future__ import annotations

import pyarrow.compute as pc

from schemas import ClipRecord, MediaRecord
from wanprep.scan import scan
from wanprep.store import layout
from wanprep.store.store import Store


def row_of(store: Store, uri: str) -> MediaRecord | None:
    """A file as the store last saw it; None when it never did."""
    table = store.table(layout.MEDIA)
    if table is None:
        return None
    rows = table.filter(pc.equal(table["uri"], uri)).to_pylist()
    newest = max(rows, key=lambda row: row["modified_ns"], default=None)
    return None if newest is None else MediaRecord.from_row(newest)


def digest_of(clip: ClipRecord, uri: str) -> str | None:
    """The digest that a clip's sound file or video had when the clip was prepared; None of any other file."""
    return {clip.video: clip.video_digest, clip.audio: clip.audio_digest}.get(uri)


def trouble_with(store: Store, clip: ClipRecord, uri: str) -> str | None:
    """Why a clip's sound file or video cannot stand for what the clip was prepared from; None when it can.

    A file whose size and time are as the store has them is not read.
    """
    digest = digest_of(clip, uri)
    if digest is None:
        return None
    known = row_of(store, uri)
    found = scan({uri: "audio" if uri == clip.audio else "video"}, {} if known is None else {uri: known})[0][
        uri
    ]
    if found.error is not None:
        return found.error
    return None if found.digest == digest else "has changed since the clip was prepared"

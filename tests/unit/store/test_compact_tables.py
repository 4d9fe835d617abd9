"""Merging the tables keeps, of rows that replace each other, the newest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from schemas import ClipRecord, MediaRecord, OutcomeRecord
from wanprep.store import Store, layout
from wanprep.store.compact import compact


def clip(number: int, recipe: str, created_ns: int, frames: int = 5) -> ClipRecord:
    return ClipRecord(
        clip_id=f"clip{number}",
        recipe=recipe,
        frames=frames,
        keys={"count": f"{number:032x}"},
        created_ns=created_ns,
    )


def test_tables_keep_the_newest_rows(tmp_path: Path) -> None:
    store = Store.create(str(tmp_path), run="first")
    history = [
        [clip(1, "a", 10, 5), clip(2, "a", 10)],
        [clip(1, "b", 20)],
        [clip(1, "a", 30, 6)],
    ]
    for number, rows in enumerate(history):
        store.write_rows(layout.CLIPS, ClipRecord, rows, [str(number)])
    media = MediaRecord(uri="a.mp4", kind="video", size=3, modified_ns=5, digest="0" * 32)
    for number, row in enumerate(
        (
            replace(media, modified_ns=4),
            replace(media, error="cannot be read"),
            media,
            replace(media, uri="b.mp4"),
        )
    ):
        store.write_rows(layout.MEDIA, MediaRecord, [row], [str(number)])
    end = OutcomeRecord(key="50", stage="count", clip_id="clip5", outcome="failed", cause="old", created_ns=1)
    for row in (end, replace(end, cause="new", created_ns=2), replace(end, key="51")):
        store.write_rows(layout.OUTCOMES, OutcomeRecord, [row], [row.key, str(row.created_ns)])
    compact(str(tmp_path))
    store.refresh()
    for folder, rows in ((layout.CLIPS, 3), (layout.MEDIA, 2), (layout.OUTCOMES, 2)):
        (part,) = store.files.names(folder, ".parquet")
        table = store.files.read_table(part)
        assert len(table) == rows and table.schema.metadata == {b"wanprep.schema": b"1"}
    assert store.clip_records() == [clip(1, "a", 30, 6), clip(2, "a", 10)]
    assert store.media_records() == {"a.mp4": media, "b.mp4": replace(media, uri="b.mp4")}
    assert {row.key: row.cause for row in store.outcomes()} == {"50": "new", "51": "old"}
    assert compact(str(tmp_path)).merged == 0

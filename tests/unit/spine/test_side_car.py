"""Captions that come with the input: columns and text files, good and bad, and when they make things stale."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import fsspec
import pytest
from helpers.media import write_video

import wanprep
from schemas import CaptionRecord
from wanprep.errors import UsageError
from wanprep.inputs import InputClip, read_inputs
from wanprep.plan import Plan
from wanprep.prepare import prepare
from wanprep.recipe import load_recipe
from wanprep.side_car import MAX_BYTES
from wanprep.states import State
from wanprep.store import Store


def one(source: Any) -> InputClip:
    (clip,) = read_inputs([source]).clips
    return clip


@pytest.fixture
def video(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    path = tmp_path / "videos" / "a.b.mp4"
    path.touch()
    return path


def write(video: Path, content: str | bytes) -> Path:
    path = video.with_suffix(".txt")
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def manifest(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "list.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("how", ["file", "folder", "glob", "manifest"])
def test_text_beside_the_video(video: Path, how: str) -> None:
    write(video, "\ufeff A hand rises.\r\nThen it falls. \n")
    sources = {
        "file": video,
        "folder": video.parent,
        "glob": str(video.parent / "*"),
        "manifest": manifest(video.parent.parent, {"video": "videos/a.b.mp4"}),
    }
    inputs = read_inputs([sources[how]])
    (clip,) = inputs.clips
    assert (clip.caption, clip.caption_error) == ("A hand rises.\nThen it falls.", None)
    assert inputs.ignored == 0, "a caption is no file that was left out"


def test_id_does_not_depend_on_the_caption(video: Path) -> None:
    plain = one(video)
    write(video, "A hand rises.")
    assert one(video).clip_id == plain.clip_id != ""
    assert plain.caption is None and plain.caption_error is None


def test_column_wins_over_text_file(video: Path) -> None:
    write(video, "from the file")
    folder = video.parent.parent
    rows = [
        {"video": "videos/a.b.mp4", "caption": " from the column ", "id": "a"},
        {"video": "videos/a.b.mp4", "caption": "", "id": "b"},
        {"video": "videos/a.b.mp4", "caption": None, "id": "c"},
    ]
    captions = [clip.caption for clip in read_inputs([manifest(folder, *rows)]).clips]
    assert captions == ["from the column", "from the file", "from the file"]


def test_column_in_csv(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["audio", "caption"], ["a.wav", "Someone, seen from the side"]])
    assert one(path).caption == "Someone, seen from the side"


def test_misspelt_column_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown column 'captions'; did you mean 'caption'\?"):
        one(manifest(tmp_path, {"video": "a.mp4", "captions": "x"}))


def test_other_texts_are_left_alone(video: Path) -> None:
    (video.parent / "notes.txt").write_text("x")
    (video.parent / "a.txt").write_text("x")
    (video.parent / "a.b.TXT").write_text("x")
    inputs = read_inputs([video.parent])
    assert inputs.clips[0].caption is None and inputs.ignored == 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty; write a caption into it, or remove it"),
        (b" \n\t\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        ("naïve".encode("latin-1"), "is no UTF-8 text (byte 2); save it as UTF-8"),
        ("text".encode("utf-16"), "is no UTF-8 text"),
        (b"a\0b", "holds a NUL character"),
        (b"x" * (MAX_BYTES + 1), f"has {MAX_BYTES + 1:,} bytes; a caption has 65,536 at most"),
    ],
    ids=["empty", "blank", "mark", "latin-1", "utf-16", "nul", "enormous"],
)
def test_bad_texts_are_told_and_spare_the_clip(video: Path, content: bytes, said: str) -> None:
    write(video, content)
    clip = one(video)
    assert clip.video == str(video) and clip.caption is None
    assert clip.caption_error is not None and "\n" not in clip.caption_error
    assert clip.caption_error.startswith("caption file a.b.txt: ") and said in clip.caption_error


def test_pipe_is_not_waited_for(video: Path) -> None:
    os.mkfifo(video.with_suffix(".txt"))
    assert "no regular file" in (one(video).caption_error or "")


def test_folder_called_like_a_text(video: Path) -> None:
    video.with_suffix(".txt").mkdir()
    assert "no regular file" in (one(video).caption_error or "")


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9"
    for suffix, content in ((b".mp4", b""), (b".txt", b"A cup.")):
        with open(name + suffix, "wb") as file:
            file.write(content)
    assert one(tmp_path).caption == "A cup."


def test_folder_in_a_bucket() -> None:
    fs = fsspec.filesystem("memory")
    folder = "/side-cars"
    for name, content in {
        "a.mp4": b"x",
        "a.txt": b"A hand rises.",
        "b.mp4": b"x",
        "b.txt": b"",
        "c.mp4": b"x",
        "c.txt": b"\xff",
        "d.mp4": b"x",
        "e.mp4": b"x",
        "e.txt": b"y" * (MAX_BYTES + 1),
        "notes.txt": b"z",
    }.items():
        fs.pipe_file(f"{folder}/{name}", content)
    inputs = read_inputs(["memory://side-cars"])
    a, b, c, d, e = inputs.clips
    assert (a.caption, d.caption, d.caption_error) == ("A hand rises.", None, None)
    said = [clip.caption_error or "" for clip in (b, c, e)]
    assert "b.txt: is empty" in said[0] and "c.txt: is no UTF-8" in said[1] and "e.txt: has 65,537" in said[2]
    assert inputs.ignored == 1


class Folder:
    """A folder with one video, a store, and the stage `caption` alone."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store"
        self.recipe = load_recipe({"stages": {"caption": {}}})
        self.video = write_video(folder / "videos" / "a.mp4", 8)

    def plan(self) -> Plan:
        store = Store.open(str(self.store)) if self.store.exists() else None
        return prepare(read_inputs([self.video.parent]), self.recipe, store).plan

    def reasons(self) -> dict[str, int]:
        return dict(self.plan().stages["caption"].reasons)

    def run(self) -> Any:
        wanprep.run(self.video.parent, store=self.store, recipe=self.recipe, engine="inline", workers=1)
        (clip,) = wanprep.open(str(self.store)).clips()
        return clip


def test_changes_of_a_text_file_reach_the_plan(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.run().caption.source == "template"
    assert folder.reasons() == {}
    text = write(folder.video, "A hand rises.")
    assert folder.reasons() == {"given caption changed": 1}
    clip = folder.run()
    assert isinstance(clip.caption, CaptionRecord)
    assert (clip.caption.text, clip.caption.source, clip.caption.language) == ("A hand rises.", "given", None)
    assert len(clip.caption.times_T) == 0 and clip.caption.model is None
    assert folder.reasons() == {}
    text.write_text("A hand falls.")
    assert folder.reasons() == {"given caption changed": 1}
    text.write_text(" A hand rises. \n")
    assert folder.reasons() == {}, "white space around it is no part of a caption"
    text.unlink()
    assert folder.plan().stages["caption"].count(State.DONE) == 1, "the first caption is still there"


def test_bad_text_fails_the_caption_alone(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    write(folder.video, b"")
    folder.run()
    plan = folder.plan()
    assert plan.unusable == [] and plan.stages["caption"].count(State.FAILED) == 1
    (outcome,) = Store.open(str(folder.store)).outcomes()
    assert outcome.cause == "caption file a.txt: is empty; write a caption into it, or remove it"
    write(folder.video, "Mended.")
    assert folder.run().caption.text == "Mended."

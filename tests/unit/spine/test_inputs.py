"""What people name becomes clips; what is wrong with it is said with its place."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wanprep.errors import UsageError
from wanprep.inputs import InputClip, read_inputs
from wanprep.media.source import local_path

ROWS = [
    {"video": "a.mp4", "prompt": "a dog, running", "start": 0.5, "end": 2.25, "id": "first"},
    {"video": "b.mp4", "reference": "face.png", "audio": "speech.wav"},
    {"audio": "/sounds/song.mp3", "prompt": 'says "hi"\nand goes'},
]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(*sources: Any) -> list[str]:
    return [os.path.basename(clip.video or "") for clip in read_inputs(sources).clips]


def refusal(*sources: Any) -> str:
    with pytest.raises(UsageError) as caught:
        read_inputs(sources)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_file_by_any_name(tmp_path: Path) -> None:
    touch(tmp_path, "clip.mp4", "footage.dat", "clip[1].mp4")
    for name in ("clip.mp4", "footage.dat", "clip[1].mp4"):
        (clip,) = read_inputs([tmp_path / name]).clips
        assert clip.video == str(tmp_path / name)
        (again,) = read_inputs([(tmp_path / name).as_uri()]).clips
        assert again == clip


def test_folder_with_everything_in_it(tmp_path: Path) -> None:
    touch(tmp_path, "b.MP4", "a/c.mov", "a/deep/er/d.webm", "notes.txt", ".hidden.mp4", "a/._b.mp4", "a/mp4")
    touch(tmp_path, ".thumbnails/e.mp4", "a/.trash/f.mp4")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    (tmp_path / "a/link.mp4").symlink_to(tmp_path / "b.MP4")
    inputs = read_inputs([tmp_path])
    assert [os.path.relpath(clip.video or "", tmp_path) for clip in inputs.clips] == [
        "b.MP4",
        "a/c.mov",
        "a/link.mp4",
        "a/deep/er/d.webm",
    ]
    assert inputs.ignored == 4


def test_relative_and_absolute_names_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "v/a.mp4")
    monkeypatch.chdir(tmp_path)
    inputs = read_inputs(["v", "v/a.mp4", str(tmp_path / "v/a.mp4"), "./v/../v"])
    assert [clip.video for clip in inputs.clips] == [str(tmp_path / "v/a.mp4")]
    assert inputs.repeated == 3


def test_glob(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.mp4", "a/1.mp4", "a/notes.txt", "c/deep/3.mp4")
    assert found(str(tmp_path / "*/*.mp4")) == ["1.mp4", "2.mp4"]
    assert found(str(tmp_path / "**/*.mp4")) == ["1.mp4", "2.mp4", "3.mp4"]
    inputs = read_inputs([str(tmp_path / "*/*")])
    assert [os.path.basename(clip.video or "") for clip in inputs.clips] == ["1.mp4", "2.mp4", "3.mp4"]
    assert inputs.ignored == 1, "what a pattern matches is chosen as in a folder"


def test_nothing_there_is_said_with_the_nearest_name(tmp_path: Path) -> None:
    touch(tmp_path, "videos/a.txt")
    assert "did you mean 'videos'?" in refusal(tmp_path / "vidoes")
    assert "matches nothing" in refusal(str(tmp_path / "*.mp4"))
    assert "no clips" in refusal(tmp_path / "videos")
    assert "no clips" in refusal()


def write_manifest(path: Path, rows: list[dict[str, Any]]) -> Path:
    columns = ["video", "reference", "audio", "prompt", "start", "end", "id"]
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("\n\n".join(json.dumps(row) for row in rows) + "\n")
    else:
        pq.write_table(
            pa.Table.from_pylist([{name: row.get(name) for name in columns} for row in rows]), path
        )
    return path


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_manifest_with_all_columns(tmp_path: Path, suffix: str) -> None:
    first, second, third = read_inputs([write_manifest(tmp_path / f"list.{suffix}", ROWS)]).clips
    assert first == InputClip(
        clip_id="first", video=str(tmp_path / "a.mp4"), prompt="a dog, running", start=0.5, end=2.25
    )
    assert (second.video, second.reference, second.audio, second.prompt, second.start, second.end) == (
        str(tmp_path / "b.mp4"),
        str(tmp_path / "face.png"),
        str(tmp_path / "speech.wav"),
        None,
        0.0,
        None,
    )
    assert (third.video, third.audio, third.prompt) == (None, "/sounds/song.mp3", 'says "hi"\nand goes')


def test_manifests_of_three_kinds_make_the_same_clips(tmp_path: Path) -> None:
    made = [
        read_inputs([write_manifest(tmp_path / f"list.{suffix}", ROWS)]).clips
        for suffix in ("csv", "jsonl", "parquet")
    ]
    assert made[0] == made[1] == made[2]


def test_manifest_addresses(tmp_path: Path) -> None:
    """file:// addresses were taken for names relative to the manifest."""
    rows = [{"video": f"file://{tmp_path}/a%20b.mp4"}, {"video": "s3://bucket/c.mp4"}, {"video": "../d.mp4"}]
    clips = read_inputs([write_manifest(tmp_path / "list.jsonl", rows)]).clips
    assert [clip.video for clip in clips] == [
        str(tmp_path / "a b.mp4"),
        "s3://bucket/c.mp4",
        str(tmp_path.parent / "d.mp4"),
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"video": "a.mp4", "start": "soon"}, "row 2: start is 'soon', not a number of seconds"),
        ({"video": "a.mp4", "start": -1}, "row 2: start is -1; it is a time in seconds from 0 on"),
        ({"video": "a.mp4", "end": "inf"}, "row 2: end is inf"),
        ({"video": "a.mp4", "start": 2, "end": 2}, "row 2: end 2 s is not after start 2 s"),
        ({"video": "a.mp4", "id": "../../etc"}, "row 2: id '../../etc' may hold letters"),
        ({"video": "a.mp4", "id": "x" * 129}, "row 2: id"),
        ({"start": 1}, "row 2: is empty"),
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_bad_rows_are_named(tmp_path: Path, row: dict[str, Any], said: str, suffix: str) -> None:
    rows = [{"video": "good.mp4"}, row]
    if suffix == "parquet":
        rows = [{name: None if value is None else str(value) for name, value in row.items()} for row in rows]
    message = refusal(write_manifest(tmp_path / f"list.{suffix}", rows))
    assert message.startswith(str(tmp_path / f"list.{suffix}, ")) and said in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"video": "a.mp4"}\n\n{"video": }\n', "list.jsonl, line 3: is not valid JSON"),
        ('{"video": "a.mp4"}\n["b.mp4"]\n', "line 2: each line is an object"),
        ('{"video": "a.mp4"}\n{"vidoe": "b.mp4"}\n', "line 2: unknown column 'vidoe'; did you mean 'video'?"),
        ('{"video": "a.mp4"}\n{"video": ["b.mp4"]}\n', "line 2: video is a list, not one text"),
        ('{"video": "a.mp4"}\n{"video": "b.mp4", "end": {}}\n', "line 2: end is a dict"),
        ('{"path": "a.mp4"}\n', "line 1: a manifest has a column 'video'"),
    ],
)
def test_bad_json_lines_are_named(tmp_path: Path, text: str, said: str) -> None:
    """A syntax error in line 3 was reported as being in line 1."""
    (tmp_path / "list.jsonl").write_text(text)
    assert said in refusal(tmp_path / "list.jsonl")


def test_unquoted_comma_is_refused(tmp_path: Path) -> None:
    """The rest of the prompt was dropped without a word."""
    (tmp_path / "list.csv").write_text("video,prompt\na.mp4,a dog\nb.mp4,a dog, running\n")
    assert "list.csv, row 2: has more fields than columns; quote text with commas" in refusal(
        tmp_path / "list.csv"
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("list.csv", b"vidoe,prompt\na,b\n", "unknown column 'vidoe'; did you mean 'video'?"),
        ("list.csv", b"a,b\n1,2\n", "a manifest has a column 'video'"),
        ("list.csv", b"", "a manifest has a column 'video'"),
        ("list.csv", b"video\n\xff\xfe.mp4\n", "is not a readable manifest (UnicodeDecodeError"),
        ("list.parquet", b"PAR1 or not", "is not a readable manifest"),
        ("list.csv", None, "is not a readable manifest (FileNotFoundError"),
        ("list.csv", b"video\n", "no clips"),
    ],
)
def test_bad_manifest_is_one_line(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert said in refusal(tmp_path / name)


def test_other_columns_are_left_alone(tmp_path: Path) -> None:
    """A column `licence` was taken for a misspelt `reference`."""
    (tmp_path / "list.csv").write_text("video,licence,source_url\na.mp4,CC0,http://x\n")
    assert found(tmp_path / "list.csv") == ["a.mp4"]


def test_duplicates_are_taken_once_and_conflicts_refused(tmp_path: Path) -> None:
    rows = [{"video": "a.mp4", "id": "x"}, {"video": "a.mp4", "id": "x"}, {"video": "a.mp4"}]
    inputs = read_inputs([write_manifest(tmp_path / "list.jsonl", rows)])
    assert (len(inputs.clips), inputs.repeated) == (2, 1)
    rows[1]["video"] = "b.mp4"
    assert "two different clips have the id 'x'" in refusal(write_manifest(tmp_path / "list.jsonl", rows))


@pytest.mark.parametrize("clip_id", ["a", "A.b-c_9", "0" * 128])
def test_good_ids(tmp_path: Path, clip_id: str) -> None:
    (clip,) = read_inputs([write_manifest(tmp_path / "l.jsonl", [{"video": "a.mp4", "id": clip_id}])]).clips
    assert clip.clip_id == clip_id


@pytest.mark.parametrize("clip_id", [".a", "-a", "a/b", "a b", "é", "a\n", "_", "0" * 129])
def test_bad_ids(tmp_path: Path, clip_id: str) -> None:
    rows = [{"video": "a.mp4", "id": clip_id}]
    with pytest.raises(UsageError, match="may hold letters"):
        read_inputs([write_manifest(tmp_path / "l.jsonl", rows)])


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(os.path.join(os.fsencode(tmp_path), b"caf\xe9 1.mp4"))
    Path(name).touch()
    (clip,) = read_inputs([tmp_path]).clips
    assert clip.video is not None
    clip.video.encode("utf-8")
    assert local_path(clip.video) == name and os.path.exists(local_path(clip.video))
    assert clip.clip_id.isascii()


def test_ids_do_not_depend_on_other_inputs(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.mp4", "b/x.mp4", "c/y.mp4")
    whole = {clip.video: clip.clip_id for clip in read_inputs([tmp_path]).clips}
    assert len(set(whole.values())) == 3
    for video, clip_id in whole.items():
        (alone,) = read_inputs([video or ""]).clips
        assert alone.clip_id == clip_id


@given(st.text(min_size=1, max_size=80).filter(lambda name: "/" not in name and "\0" not in name))
def test_made_ids_are_good_ids(name: str) -> None:
    from wanprep.inputs import _ID, _clip

    try:
        address = "/videos/" + name
        address.encode()
    except UnicodeEncodeError:
        return
    assert _ID.fullmatch(_clip(video=address).clip_id)


def test_many_videos_called_alike_have_different_ids() -> None:
    """With 32 bits of identity, 100,000 folders that each hold a video.mp4 could not be given together."""
    from wanprep.inputs import _clip

    ids = {_clip(video=f"/data/{number:06d}/video.mp4").clip_id for number in range(100_000)}
    assert len(ids) == 100_000


def test_folder_in_a_bucket() -> None:
    fs = fsspec.filesystem("memory")
    for name in ("/inputs/b.mp4", "/inputs/deep/a.mp4", "/inputs/notes.txt", "/inputs/.c.mp4"):
        fs.pipe_file(name, b"x")
    inputs = read_inputs(["memory://inputs"])
    assert [clip.video for clip in inputs.clips] == ["memory:///inputs/b.mp4", "memory:///inputs/deep/a.mp4"]
    assert inputs.ignored == 2
    assert found("memory://inputs/*.mp4") == ["b.mp4"]
    assert "cannot be listed" in refusal("nosuch://inputs")

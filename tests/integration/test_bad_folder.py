"""A folder as people have them: every good clip is done, every bad one is named with its cause."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.media import cut_file, trim_by_edit_list, turn, write_sound, write_video

import wanprep
from wanprep.status import status
from wanprep.store.verify import verify

RECIPE = {"stages": {"flow": {"preset": "ultrafast", "consistency": False, "short_side": 32}}}


@dataclasses.dataclass(frozen=True)
class Folder:
    path: Path
    good: dict[str, tuple[int, int, int]]  # name -> width, height, frames
    bad: dict[str, str]  # name -> part of its cause


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    path = tmp_path_factory.mktemp("inputs")
    write_video(path / "plain.mp4", 10)
    write_video(path / "deep/er/sound.mov", 10, sound=True, seed=3)
    write_video(path / "odd.mp4", 5, size=(301, 217), pixel_format="yuv444p")
    turn(write_video(path / "turned.mp4", 6, seed=4), 90)
    write_video(path / "variable.mkv", 6, times=[0, 0.04, 0.1, 0.3, 0.33, 0.35])
    trim_by_edit_list(write_video(path / "trimmed.mp4", 40, b_frames=2), 0.4, 0.4)
    write_video(path / "late.mkv", 8, times=[3 + index / 25 for index in range(8)], seed=5)
    write_video(path / "raw.h264", 7, seed=6)
    write_video(path / "no spaces? 100% [x] 'q'.mp4", 4, seed=7)
    os.rename(write_video(path / "tmp.mp4", 4, seed=8), os.path.join(os.fsencode(path), b"latin-\xe9.mp4"))
    write_video(path / "still.mp4", 1)
    (path / "text.mp4").write_text("this is not a video\n" * 40)
    (path / "empty.mp4").touch()
    cut_file(write_video(path / "no_index.mp4", 60), 0.7)
    cut_file(write_video(path / "cut.mp4", 60, faststart=True), 0.7)
    cut_file(write_video(path / "cut.mkv", 60), 0.6)
    write_sound(path / "sound_only.mp4")
    damaged = bytearray(write_video(path / "damaged.mp4", 60).read_bytes())
    start = damaged.index(b"mdat") + 8
    damaged[start : start + 4000] = bytes(4000)
    (path / "damaged.mp4").write_bytes(damaged)
    os.mkfifo(path / "pipe.mp4")
    (path / "gone.mp4").symlink_to(path / "nowhere.mp4")
    (path / "readme.txt").write_text("no video by its name")
    good = {
        "plain": (64, 48, 10),
        "sound": (64, 48, 10),
        "odd": (301, 217, 5),
        "turned": (48, 64, 6),
        "variable": (64, 48, 6),
        "trimmed": (64, 48, 10),
        "late": (64, 48, 8),
        "raw": (64, 48, 7),
        "no_spaces_100_x_q": (64, 48, 4),
        "latin-_E9": (64, 48, 4),
        "still": (64, 48, 1),
    }
    bad = {
        "text": "video: cannot be opened as media: Invalid data found",
        "empty": "video: the file is empty (0 bytes)",
        "no_index": "video: cannot be opened as media: Invalid data found",
        "cut": "corrupt",
        "sound_only": "video: has no video stream: it is sound only (aac, 0.5 s)",
        "damaged": "video: damaged",
        "pipe": "video: is no regular file",
        "gone": "video: the file does not exist",
    }
    return Folder(path, good, bad)


def name_of(clip_id: str) -> str:
    return clip_id.rsplit("-", 1)[0]


def test_good_clips_are_done_and_bad_ones_named(folder: Folder, tmp_path: Path) -> None:
    summary = wanprep.run(folder.path, store=tmp_path / "store", recipe=RECIPE, engine="inline")
    store = wanprep.open(str(tmp_path / "store"))
    clips = {name_of(clip.id): clip.record for clip in store.clips() if clip.record.why_not is None}
    assert {name: (c.width, c.height, c.frames) for name, c in clips.items()} == folder.good
    causes = {(name_of(failure.clip_id), failure.stage): failure.cause for failure in summary.failures}
    assert {name for name, _ in causes} == set(folder.bad)
    for (name, stage), cause in causes.items():
        said = (
            (folder.bad[name], "truncated: the container promises") if name == "cut" else (folder.bad[name],)
        )
        assert any(part in cause for part in said), (name, cause)
        assert "\n" not in cause and stage == "clip"
    assert summary.failed == len(folder.bad) + 1, "cut.mp4 and cut.mkv"
    assert summary.inputs_ignored == 1
    assert (summary.stages["flow"].done, summary.stages["flow"].skipped) == (len(folder.good) - 1, 1)
    assert verify(store).clean
    found = status(store)
    assert (found.unusable, len(found.failures)) == (summary.failed, summary.failed)
    assert dict(found.reasons) == {"flow: a single frame has no flow": 1}


def test_second_run_makes_nothing_and_still_tells(folder: Folder, tmp_path: Path) -> None:
    first = wanprep.run(folder.path, store=tmp_path / "store", recipe=RECIPE, engine="inline")
    again = wanprep.run(folder.path, store=tmp_path / "store", recipe=RECIPE, engine="inline")
    assert again.nothing_to_do
    assert again.failures == first.failures and again.failed == first.failed
    outcomes = wanprep.open(str(tmp_path / "store")).outcomes()
    assert len(outcomes) == first.failed + 1, "each is written down once"


def test_damage_further_on_fails_the_stages_that_came_to_it(tmp_path: Path) -> None:
    """The file looks whole: only decoding all of it tells."""
    path = write_video(tmp_path / "a.mp4", 80)
    data = bytearray(path.read_bytes())
    middle = (data.index(b"mdat") + len(data)) // 2
    data[middle : middle + 1500] = bytes(1500)
    path.write_bytes(data)
    summary = wanprep.run(path, store=tmp_path / "store", recipe=RECIPE, engine="inline")
    (failure,) = summary.failures
    assert failure.stage == "flow" and failure.cause.startswith("damaged: ")
    assert wanprep.run(path, store=tmp_path / "store", recipe=RECIPE, engine="inline").failed == 1


@pytest.mark.parametrize(("strict", "code"), [(False, 0), (True, 3)])
def test_command_line_counts_failures_without_a_traceback(
    folder: Folder, tmp_path: Path, strict: bool, code: int
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(RECIPE))
    command = [
        "run",
        str(folder.path),
        "-s",
        str(tmp_path / "store"),
        "-r",
        str(recipe),
        "--engine",
        "inline",
    ]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from wanprep.cli import main; main()",
            *command,
            *(["--strict"] if strict else []),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert f"{len(folder.bad) + 1} failed" in done.stdout
    assert "video: the file is empty (0 bytes)" in done.stdout
    # Decoders must not talk past us.
    assert [line for line in done.stderr.splitlines() if not line.startswith("running:")] == []

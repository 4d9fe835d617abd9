"""Every file of the corpus ends as it must, alone and in a folder with all others."""

from __future__ import annotations

import os
import re
import socket
import threading
from pathlib import Path

import pytest
from helpers.corpus import CASES, Case, End, build
from helpers.corpus.__main__ import page
from helpers.corpus.impostors import PLAYLISTS, write_playlist
from helpers.corpus.judge import judge
from helpers.corpus.run import Finished, ends, prepare_folder
from helpers.media import write_video

import wanprep
from wanprep.inputs import read_inputs
from wanprep.media.source import local_path

MEMORY = 1 << 30  # bytes that all files together may take at their worst
# What is for programmers: class names, error numbers, tracebacks, addresses, pieces of code.
NOT_FOR_PEOPLE = re.compile(
    r"\w+Error\b|\bErrno\b|\w+Exception\b|Traceback|<class|\b0x[0-9a-f]+|None\b|av\.|cv2|/tmp|\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus")
    build(path)
    return path


@pytest.fixture(scope="module")
def addresses(folder: Path) -> dict[str, str]:
    """File name -> address, of the clips that the folder gives."""
    clips = read_inputs([folder]).clips
    return {os.path.basename(local_path(clip.video or "")): clip.video or "" for clip in clips}


def agrees(case: Case, end: End, cause: str) -> None:
    """Fails unless a file ended as its case says, and with a cause for people."""
    if case.end is not End.EITHER:
        assert end is case.end, (case.name, end, cause)
    assert (end is End.DONE) == (cause == ""), (case.name, end, cause)
    assert not case.cause or any(part in cause for part in case.cause.split("|")), (case.name, cause)
    assert not NOT_FOR_PEOPLE.search(cause), cause
    assert len(cause) < 200, cause


def test_folder_gives_a_clip_for_each_file(addresses: dict[str, str]) -> None:
    assert set(addresses) == {case.name for case in CASES}
    assert len(CASES) == len({case.name for case in CASES}) >= 60


@pytest.mark.parametrize("case", CASES, ids=[re.sub(r"[^\w.]+|n{20,}", "_", case.name) for case in CASES])
def test_file(case: Case, addresses: dict[str, str]) -> None:
    verdict = judge(addresses[case.name])
    if case.end is End.SKIPPED:
        # The file is whole; which stage has no use for it shows in a run.
        assert verdict.cause is None
        assert len(verdict.levels) == 1
        return
    agrees(case, End.DONE if verdict.cause is None else End.FAILED, verdict.cause or "")
    if case.size is not None:
        assert (verdict.media.width, verdict.media.height) == verdict.size == case.size
    if case.frames is not None:
        assert verdict.media.frames == len(verdict.levels) == case.frames
    if case.levels is not None:
        assert verdict.levels == case.levels
    if case.variable is not None:
        assert verdict.media.variable_rate == case.variable


@pytest.fixture(scope="module")
def prepared(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, Path]:
    store = tmp_path_factory.mktemp("store") / "s"
    return prepare_folder(folder, store), store


def test_folder_is_prepared_to_its_end(prepared: tuple[Finished, Path]) -> None:
    finished, store = prepared
    assert finished.code == 0, finished.stderr[-2000:]
    assert finished.peak_bytes < MEMORY, f"{finished.peak_bytes >> 20} MiB"
    assert "Traceback" not in finished.stdout + finished.stderr
    # Decoders must not talk past us.
    assert [line for line in finished.stderr.splitlines() if not line.startswith("running:")] == []
    failures = sum(row.outcome == "failed" for row in wanprep.open(str(store)).outcomes())
    assert f"{failures:,} failed" in finished.stdout


@pytest.mark.parametrize("case", CASES, ids=[re.sub(r"[^\w.]+|n{20,}", "_", case.name) for case in CASES])
def test_outcome_of_file(case: Case, prepared: tuple[Finished, Path]) -> None:
    agrees(case, *ends_once(prepared[1])[case.name])


_ENDS: dict[Path, dict[str, tuple[End, str]]] = {}


def ends_once(store: Path) -> dict[str, tuple[End, str]]:
    if store not in _ENDS:
        _ENDS[store] = ends(store)
    return _ENDS[store]


def test_page_names_every_file(prepared: tuple[Finished, Path]) -> None:
    said = (Path(__file__).parents[2] / "docs" / "corpus.md").read_text(encoding="utf-8")

    def files(text: str) -> list[str]:
        return [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]

    assert files(said) == files(page(ends_once(prepared[1]))), (
        "write it again: cd tests && python -m helpers.corpus --write ..."
    )


@pytest.mark.parametrize("name", ["playlist.m3u8", *PLAYLISTS])
def test_playlist_is_not_followed(name: str, tmp_path: Path) -> None:
    """By whatever name: neither to a file beside it nor to a server."""
    write_video(tmp_path / "secret.mp4", 4)
    calls: list[tuple[str, int]] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        listener = threading.Thread(target=_listen, args=(server, calls))
        listener.start()
        for target in (
            "secret.mp4",
            f"http://127.0.0.1:{port}/a.mp4",
            f"tcp://127.0.0.1:{port}",
            str(tmp_path / "secret.mp4"),
        ):
            write_playlist(tmp_path / name, name if name in PLAYLISTS else "playlist.mp4", target)
            verdict = judge(str(tmp_path / name))
            assert verdict.cause == "video: is a playlist that names other files; name those instead"
        listener.join()
    assert not calls


def _listen(server: socket.socket, calls: list[tuple[str, int]]) -> None:
    try:
        while True:
            connection, address = server.accept()
            calls.append(address)
            connection.close()
    except TimeoutError:
        return


def test_picture_whose_name_is_a_pattern_is_read_alone(tmp_path: Path) -> None:
    """FFmpeg takes `%d` and `*` in the names of pictures for a sequence of files."""
    from helpers.media import write_picture

    for name in ("a%03d.png", "b*.png", "c[1-2]?{x}.png"):
        verdict = judge(str(write_picture(tmp_path / "plain.png").rename(tmp_path / name)))
        assert (verdict.cause, verdict.size, len(verdict.levels)) == (None, (48, 64), 1)
    write_picture(tmp_path / "a001.png", (96, 96))
    assert judge(str(tmp_path / "a%03d.png")).size == (48, 64)

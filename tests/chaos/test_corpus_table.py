"""The corpus of bad files once more, for its table at the end of `make chaos`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.corpus import CASES, End, build
from helpers.corpus.run import ends, prepare_folder

_NAME_CHARACTERS = 40


@pytest.mark.chaos
def test_every_file_ends_as_it_must(
    tmp_path: Path, enter_corpus: Callable[[list[tuple[str, str, str]]], None]
) -> None:
    folder, store = tmp_path / "in", tmp_path / "store"
    folder.mkdir()
    build(folder)
    finished = prepare_folder(folder, store)
    assert finished.code == 0 and "Traceback" not in finished.stderr, finished.stderr
    found = ends(store)
    enter_corpus([(_short(case.name), *found[case.name]) for case in CASES])
    for case in CASES:
        end, cause = found[case.name]
        assert case.end in (end, End.EITHER), case.name
        assert bool(cause) == (end is not End.DONE), case.name


def _short(name: str) -> str:
    plain = name.encode("unicode_escape").decode()
    return plain if len(plain) <= _NAME_CHARACTERS else f"{plain[:20]}...{plain[-12:]}"

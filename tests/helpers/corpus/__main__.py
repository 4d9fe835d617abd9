"""Prepares the corpus and prints what became of each file; `--write FILE` keeps it as a page."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from helpers.corpus import CASES, End, build
from helpers.corpus.run import ends, prepare_folder

_HEAD = """# What becomes of bad and odd files

{count} files, made by `tests/helpers/corpus`, and how each ends under `wanprep run FOLDER --preset motion`: {counts}. \
No file stops a run, and the exit code is 0; `--strict` makes failures count. `make test` prepares them all; this page \
is written by `cd tests && python -m helpers.corpus --write ../docs/corpus.md`.

Random damage (`flipped`) and damage that FFmpeg mends differently from version to version may end otherwise with \
another version. Two things go unnoticed, because nothing in the file tells: packets that are missing from the middle \
of H.264 without a count of frames beside them, and the end of a transport stream, which promises no length.

| file | what it is | end | cause |
|---|---|---|---|
"""


def page(found: Mapping[str, tuple[End, str]]) -> str:
    """The table as Markdown."""
    counts = Counter(end for end, _ in found.values())
    said = ", ".join(f"{counts[end]} {end}" for end in (End.DONE, End.SKIPPED, End.FAILED))
    lines = []
    for case in CASES:
        end, cause = found[case.name]
        name = case.name if len(case.name) < 40 else case.name[:8] + "..." + case.name[-8:]
        cells = (f"`{_plain(name)}`", case.what, end, cause)
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |\n")
    return _HEAD.format(count=len(CASES), counts=said) + "".join(lines)


def _plain(name: str) -> str:
    return name.encode("unicode_escape").decode()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="wanprep-corpus-") as scratch:
        folder, store = Path(scratch, "in"), Path(scratch, "store")
        build(folder)
        finished = prepare_folder(folder, store)
        if finished.code:
            print(finished.stderr or finished.stdout, file=sys.stderr)
            return 1
        text = page(ends(store))
    if sys.argv[1:2] == ["--write"]:
        Path(sys.argv[2]).write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    print(f"{finished.seconds:.1f} s, {finished.peak_bytes >> 20} MiB at most", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

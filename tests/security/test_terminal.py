"""What files are called and what decoders say is shown, never acted on."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.media import write_video
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from schemas import OutcomeRecord
from wanprep.key import clip_key
from wanprep.store.store import Store
from wanprep.terminal import plain, shown

#: Clears the screen, sets the window's title, turns the text red; 8-bit forms; a line that overwrites; bidi.
EVIL = "[red]\x1b[2J\x1b]0;owned\x07\x9b31m\rfake: clean\x08\u202e\u2028[/red][bold"
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2066-\u2069]")


@given(st.text())
def test_plain_text_holds_nothing_that_a_terminal_acts_on(text: str) -> None:
    assert not RAW.search(plain(text)) and "\n" not in plain(text)
    assert plain(plain(text)) == plain(text)


def test_plain_leaves_all_scripts_alone() -> None:
    text = "Grüße, 你好, مرحبا, héllo [x] 😀"
    assert plain(text) == text
    assert plain("a\x1bb\nc\udcff") == r"a\x1bb\nc\udcff"


@given(st.text(alphabet="[]/\\ab=#\x1b\n", max_size=20))
def test_shown_text_has_no_markup(text: str) -> None:
    console = Console(file=io.StringIO(), width=1000, color_system="truecolor", force_terminal=True)
    console.print("<" + shown(text) + ">", highlight=False)
    printed = console.file.getvalue().rstrip("\n")
    assert "\x1b" not in printed, "no colour, no link"
    # rich may take or add a backslash beside a bracket that is no tag.
    assert printed.replace("\\", "") == f"<{plain(text)}>".replace("\\", "")


def test_a_store_with_evil_texts(store: Path, command: Callable[..., Any], edit: Callable[..., None]) -> None:
    (rows,) = (store / "clips").iterdir()
    edit(rows, lambda row: row.update(clip_id=EVIL, why_not=EVIL, video=EVIL))
    outcome = {
        "key": "k",
        "stage": EVIL,
        "clip_id": EVIL,
        "outcome": "failed",
        "reason": EVIL,
        "value": None,
        "cause": EVIL,
        "traceback": EVIL,
        "blocked_by": None,
        "run": EVIL,
        "created_ns": 1,
    }
    key = clip_key(Store.open(str(store)).clip_records()[0])
    (store / "outcomes").mkdir(exist_ok=True)
    pq.write_table(
        pa.Table.from_pylist([{**outcome, "key": key}], schema=OutcomeRecord.SCHEMA),
        store / "outcomes/part-zz.parquet",
    )
    status = command("status", store)
    assert status.code == 0 and "[red]" in status.out and r"\x1b[2J" in status.out
    sheet = command("sheet", store)
    for said in (status, sheet, command("verify", store), command("sheet", store, "--clip", "none")):
        assert not RAW.search(said.out + said.err)


@pytest.mark.slow
def test_files_with_evil_names_on_a_real_terminal(tmp_path: Path, command: Callable[..., Any]) -> None:
    """Through a pseudo-terminal, so that what decoders write to stderr by themselves is seen too."""
    folder = tmp_path / "in"
    folder.mkdir()
    name = EVIL.replace("/", "")
    write_video(folder / "good.mp4", 4).rename(folder / f"{name}.mp4")
    (folder / f"{name}2.mp4").write_text("no video")
    (folder / f"{name}3.mp4").write_bytes((folder / f"{name}.mp4").read_bytes()[:-200])
    (tmp_path / "m.csv").write_text(f'video\n"{name}4.mp4"\n')
    output = b""
    main, terminal = pty.openpty()
    code = "from wanprep.cli import main; main()"
    arguments = ["run", "in", "m.csv", "--engine", "inline", "-p", "motion", "-s", "store"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "dumb", "NO_COLOR": "1"},
    )
    os.close(terminal)
    try:
        while chunk := os.read(main, 65_536):
            output += chunk
    except OSError:  # Linux says so when the other end has closed
        pass
    os.close(main)
    assert process.wait(60) == 0, output
    plan = command("plan", "in/*2.mp4", "-s", "store")
    assert plan.code == 0 and "cannot be used" in plan.out
    assert not RAW.search(plan.out + plan.err)
    text = output.decode().replace("\r\n", "\n")
    assert "failed" in text and "cannot be opened as media" in text
    assert not re.search("\x1b\\[2J|\x1b\\]0|\x07|\x9b|\u202e|\rfake", text), text

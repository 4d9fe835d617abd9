"""A small store to do harm to, and the command line in this process."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.media import write_video

import wanprep
from wanprep.cli import main


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def refused(self) -> str:
        """The one line of a refusal, which is neither a success nor a traceback."""
        assert self.code in (1, 2), (self.code, self.out, self.err)
        assert self.err.startswith("wanprep: ") and self.err.count("\n") == 1, self.err
        return self.err


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Said]:
    """Runs `wanprep` with these arguments in a folder of the test's own. Exceptions that it lets through fail."""

    def call(*arguments: object) -> Said:
        out, err = io.StringIO(), io.StringIO()
        code: Any = 0
        with monkeypatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(tmp_path)
            patch.setattr(sys, "argv", ["wanprep", *map(str, arguments)])
            try:
                main()
            except SystemExit as end:
                code = end.code
        return Said(code or 0, out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def sound_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of one clip with flow and quality; not to be written to."""
    folder = tmp_path_factory.mktemp("sound")
    write_video(folder / "a.mp4", 30, size=(320, 240))
    recipe = {"stages": {"flow": {"preset": "ultrafast", "short_side": 240}}}
    summary = wanprep.run(folder / "a.mp4", store=folder / "store", recipe=recipe, engine="inline")
    assert summary.stages["flow"].done == 1 and summary.failed == 0
    assert list((folder / "store/artifacts/flow").glob("*.safetensors")), (
        "its flow is large enough for a shard"
    )
    return folder / "store"


@pytest.fixture
def store(sound_store: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(sound_store, tmp_path / "store"))


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes every row of a Parquet file."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    for row in rows:
        change(row)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


@pytest.fixture
def edit() -> Callable[[Path, Callable[[dict[str, Any]], None]], None]:
    return rewrite

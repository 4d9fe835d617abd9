"""`wanprep status` lists what the records of a store warn of, whichever run made them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.media import write_video
from helpers.stages import Count
from typer.testing import CliRunner

import wanprep
from schemas import Record
from wanprep.cli import app
from wanprep.stage import ClipContext, Media, Stage, StageConfig
from wanprep.status import status


@dataclass(frozen=True, slots=True, kw_only=True)
class LookRecord(Record):
    SCHEMA: ClassVar[pa.Schema] = pa.schema([pa.field("warnings", pa.list_(pa.string()))])
    warnings: list[str] | None


class LookConfig(StageConfig):
    times: int = 1


class Look(Stage[LookConfig]):
    """Warns as many times as it is told."""

    name: ClassVar[str] = "look"
    record: ClassVar[type[Record]] = LookRecord
    Config: ClassVar[type[StageConfig]] = LookConfig
    reads: ClassVar[frozenset[Media]] = frozenset({Media.VIDEO})

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> LookRecord:
        texts = [f"look at {context.clip.frames} frames, {time}" for time in range(self.config.times)]
        return LookRecord(warnings=texts or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberRecord(Record):
    SCHEMA: ClassVar[pa.Schema] = pa.schema([pa.field("warnings", pa.int64())])
    warnings: int


class Number(Look):
    """Has a column of this name that holds something else."""

    name: ClassVar[str] = "number"
    record: ClassVar[type[Record]] = NumberRecord

    def run(self, context: ClipContext, inputs: Mapping[str, Record]) -> Any:
        return NumberRecord(warnings=3)


Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, add_stages: Callable[..., None]) -> Run:
    """Runs two clips of one video and one of another; `times` is how often each is warned of."""
    add_stages(Look, Number, Count)
    write_video(tmp_path / "a.mp4", 4)
    write_video(tmp_path / "b.mp4", 6, seed=9)
    (tmp_path / "clips.csv").write_text("id,video\none,a.mp4\ntwo,a.mp4\nthree,b.mp4\n")

    def make(times: int = 1, place: str | None = None) -> Any:
        store = place or str(tmp_path / "store")
        recipe = {"stages": {"look": {"times": times}, "number": {}, "count": {}}}
        wanprep.run(tmp_path / "clips.csv", store=store, recipe=recipe, engine="inline", workers=1)
        return wanprep.open(store)

    return make


def told(store: Any) -> list[tuple[str, str, str]]:
    return [(row.clip_id, row.stage, row.warning) for row in status(store).warnings]


@pytest.mark.parametrize("kind", ["disk", "bucket"])
def test_every_clip_that_names_the_record_is_listed(run: Run, tmp_path: Path, kind: str) -> None:
    place = None if kind == "disk" else f"memory://{tmp_path.name}/store"
    assert sorted(told(run(place=place))) == [
        ("one", "look", "look at 4 frames, 0"),
        ("three", "look", "look at 6 frames, 0"),
        ("two", "look", "look at 4 frames, 0"),
    ]


def test_a_record_that_no_clip_names_any_more_warns_no_more(run: Run) -> None:
    run(times=1)
    assert told(run(times=0)) == []
    assert len(told(run(times=1))) == 3  # made by an earlier run, not by this one


def test_tables_of_before_there_were_warnings_have_none(run: Run, tmp_path: Path) -> None:
    run()
    for file in (tmp_path / "store" / "artifacts" / "look").glob("*.parquet"):
        pq.write_table(pq.read_table(file).drop_columns(["warnings"]), file)
    assert told(wanprep.open(str(tmp_path / "store"))) == []


def test_the_command_shows_ten_and_json_has_all(run: Run, tmp_path: Path) -> None:
    run(times=4)
    shown = CliRunner().invoke(app, ["status", str(tmp_path / "store")]).output
    assert "12 warnings about what is done:" in shown
    assert shown.count("look at ") == 10 and "and 2 more: `wanprep status STORE --json` has all" in shown
    document = json.loads(CliRunner().invoke(app, ["status", str(tmp_path / "store"), "--json"]).output)
    assert len(document["warnings"]) == 12
    assert {"clip_id": "two", "stage": "look", "warning": "look at 4 frames, 3"} in document["warnings"]

"""A folder of clips, a store and a recipe of cheap stages, to run over and over."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wanprep
from helpers.media import write_video
from helpers.stages import BEGUN, Count, Digest, Note
from wanprep.inputs import read_inputs
from wanprep.plan import Plan
from wanprep.prepare import prepare
from wanprep.recipe import load_recipe
from wanprep.states import State
from wanprep.store import Store
from wanprep.summary import RunSummary

ALL = {"count": {}, "note": {}, "digest": {}}


class Bench:
    """A folder of clips, a store and a recipe to run over and over."""

    def __init__(self, folder: Path, add_stages: Callable[..., None]) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.add_stages = add_stages
        self.rows: list[dict[str, Any]] = []
        self.recipe: dict[str, Any] = {"stages": {name: dict(settings) for name, settings in ALL.items()}}
        add_stages(Count, Note, Digest)

    def video(self, name: str, *, seed: int = 0) -> str:
        return str(write_video(self.folder / name, 6, seed=seed))

    @property
    def manifest(self) -> Path:
        path = self.folder / "list.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["id", "video", "prompt", "start"])
            writer.writeheader()
            writer.writerows(self.rows)
        return path

    def plan(self, **options: Any) -> Plan:
        store = Store.open(str(self.store)) if self.store.exists() else None
        return prepare(read_inputs([self.manifest]), load_recipe(self.recipe), store, **options).plan

    def run(self, **options: Any) -> RunSummary:
        BEGUN.clear()
        return wanprep.run(
            self.manifest, store=self.store, recipe=self.recipe, engine="inline", workers=1, **options
        )

    def reasons(self) -> dict[str, dict[str, int]]:
        return {name: dict(stage.reasons) for name, stage in self.plan().stages.items() if stage.reasons}

    def counts(self, state: State, **options: Any) -> dict[str, int]:
        return {name: stage.count(state) for name, stage in self.plan(**options).stages.items()}

    def clip(self, clip_id: str) -> Any:
        return wanprep.open(str(self.store)).clip(clip_id)

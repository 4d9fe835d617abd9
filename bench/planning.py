"""Planning and `status` with everything done: keys of all clips, anti-join with the store, reasons."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import pyarrow as pa

from bench.measure import WORK, show
from schemas import ClipRecord
from wanprep.plan import make_plan
from wanprep.recipe import Recipe, load_recipe
from wanprep.status import status
from wanprep.store import layout
from wanprep.store.store import Store

_ROWS_PER_FILE = 50_000


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench planning", description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 1_000_000])
    options = parser.parse_args(arguments)
    recipe = load_recipe(preset="features")
    rows = []
    for count in options.clips:
        folder = WORK / f"planning-{count}"
        shutil.rmtree(folder, ignore_errors=True)
        clips = _clips(count, recipe)
        _fill(folder, recipe, clips)
        store = Store.open(str(folder))
        fresh = [replace(clip, keys={}) for clip in clips]
        started = time.perf_counter()
        plan = make_plan(recipe, fresh, store)
        planned = time.perf_counter() - started
        assert len(plan.to_do) == 0
        changed = load_recipe(preset="features", overrides=["flow.short_side=320"])
        fresh = [replace(clip, keys={}) for clip in clips]
        started = time.perf_counter()
        plan = make_plan(changed, fresh, Store.open(str(folder)))
        explained = time.perf_counter() - started
        reasons = dict(plan.stages["flow"].reasons)
        del plan, fresh, clips
        started = time.process_time()
        found = status(Store.open(str(folder)))
        counted = time.process_time() - started
        assert all(stage.done == count for stage in found.stages.values())
        alone, peak = _in_a_process_of_its_own(folder)
        rows.append([f"{count:,}", planned, explained, counted, alone, peak / 1e6, reasons])
        shutil.rmtree(folder)
    show(
        "Planning, six stages a clip, everything done (bars: 5 s at 100,000; 60 s at 1,000,000; linear)",
        [
            "clips",
            "nothing to do, s",
            "flow changed, s",
            "status, CPU s",
            "`wanprep status`, s",
            "its peak, MB",
            "reasons",
        ],
        rows,
    )


def _in_a_process_of_its_own(folder: object) -> tuple[float, int]:
    """Seconds and most memory, in bytes, of `wanprep status` as a user calls it."""
    code = "import sys; from pathlib import Path; from wanprep.cli import app; app(standalone_mode=False); "
    # What getrusage tells would be this process's, from which that one was forked.
    code += "lines = Path('/proc/self/status').read_text().splitlines(); "
    code += "print(next(line.split()[1] for line in lines if line.startswith('VmHWM')), file=sys.stderr)"
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, "status", str(folder), "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    return time.perf_counter() - started, int(done.stderr.split()[-1]) * 1024


def _clips(count: int, recipe: Recipe) -> list[ClipRecord]:
    digest = recipe.digest
    return [
        ClipRecord(
            clip_id=f"clip-{number:08d}",
            recipe=digest,
            video=f"/videos/{number:08d}.mp4",
            video_digest=f"{number:032x}",
            start=0.0,
            end=4.0,
            fps=24.0,
            frames=96,
            frames_4n1=93,
            width=1280,
            height=720,
            source_fps=24.0,
            variable_rate=False,
        )
        for number in range(count)
    ]


def _fill(folder: object, recipe: Recipe, clips: list[ClipRecord]) -> None:
    """A store in which all is done, with the columns that planning reads."""
    store = Store.create(str(folder))
    make_plan(recipe, clips, None)
    store.files.write_bytes(
        f"{layout.RECIPES}/{recipe.digest}.json",
        json.dumps(recipe.to_document()).encode(),
    )
    for start in range(0, len(clips), _ROWS_PER_FILE):
        part = clips[start : start + _ROWS_PER_FILE]
        store.write_rows(layout.CLIPS, ClipRecord, part, [str(start)])
        for stage in recipe.stages:
            table = pa.table({"key": [clip.keys[stage.name] for clip in part]})
            store.files.write_table(f"{layout.artifact_folder(stage.name)}/part-{start:024d}.parquet", table)

"""The demo: a clip drawn on the spot, a store made from it, a picture of what is in the store."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from wanprep.engine.progress import Reporter
from wanprep.report.sheet import write_sheet
from wanprep.report.tables import print_summary
from wanprep.runner import run
from wanprep.sample.clip import write_sample_clip
from wanprep.store.store import Store


def run_demo(folder: Path, console: Console, progress: Reporter, *, engine: str = "ray") -> None:
    """Draws `sample.mp4`, runs the preset `features` on it, writes `sheet.png`; prints where everything is."""
    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    video = folder / "sample.mp4"
    if not video.exists():
        write_sample_clip(video, progress=lambda done, total: progress.phase("drawing the clip", done, total))
    store = folder / "store"
    summary = run(video, store=store, preset="features", engine=engine, workers=1, progress=progress)
    print_summary(console, summary)
    opened = Store.open(str(store))
    clip = next(opened.clips())
    picture = folder / "sheet.png"
    write_sheet(opened, clip, picture)
    seconds = time.perf_counter() - started
    console.print(f"\n[bold]sample clip[/]    {video}", highlight=False)
    console.print(f"[bold]store[/]          {store}", highlight=False)
    console.print(f"[bold]contact sheet[/]  {picture}   <- look at this", highlight=False)
    console.print(f"done in {seconds:.0f} s", highlight=False)

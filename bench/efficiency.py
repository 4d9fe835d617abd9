"""Pipeline efficiency: preset `features` on Ray against two plain processes that loop over the same estimators."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bench.clips import drawn_clip
from bench.marginal import HEADERS, marginal_pairs, ratio_rows
from bench.measure import show
from wanprep.media.probe import probe


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench efficiency", description=__doc__)
    parser.add_argument("--video", type=Path, nargs="+", help="default: the drawn sample clip")
    parser.add_argument("--few", type=int, default=2)
    parser.add_argument("--many", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=1)
    options = parser.parse_args(arguments)
    videos = options.video or [drawn_clip()]
    infos = [probe(str(video)).video for video in videos]
    seconds = min(info.seconds for info in infos if info) - 0.05
    frames = sum(round(seconds * info.fps) for info in infos if info) * (options.many - options.few)
    clips = len(videos) * (options.many - options.few)
    ours, floor, store = marginal_pairs(
        "efficiency",
        "full",
        ["--preset", "features", "--engine", "ray"],
        videos=videos,
        seconds=seconds,
        few=options.few,
        many=options.many,
        workers=options.workers,
        pairs=options.pairs,
    )
    show(
        f"Efficiency: {options.many} copies of {len(videos)} clips less {options.few} copies, {frames:,} frames, "
        f"{options.workers} workers",
        HEADERS,
        ratio_rows(ours, floor, frames, clips, "1.15"),
    )
    run = json.loads(max((store / "runs").glob("*.json")).read_text())
    rates = [[n, s["frames_per_second"] or "-", s["seconds"]] for n, s in run["stages"].items()]
    everything = max(s["frames"] for s in run["stages"].values())
    rates += [[f"({n})", everything / s, s] for n, s in run["shared_seconds"].items()]
    show("Stages of the last run, on one worker", ["stage", "frames/s", "seconds"], rates)

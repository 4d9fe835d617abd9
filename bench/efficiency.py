"""Pipeline efficiency: preset `features` on Ray against two plain processes that loop over the same estimators."""

from __future__ import annotations

import json

from bench.marginal import HEADERS, lengths, marginal_options, marginal_pairs, ratio_rows
from bench.measure import show


def main(arguments: list[str]) -> None:
    parser = marginal_options("efficiency", __doc__, pairs=1)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    videos, seconds, frames, clips = lengths(options)
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

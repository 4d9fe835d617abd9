"""The motion-only pass (preset `motion`: DIS FAST and quality numbers) against a plain loop of DIS FAST."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.clips import drawn_clip
from bench.marginal import HEADERS, marginal_pairs, ratio_rows
from bench.measure import show
from wanprep.media.probe import probe


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench motion", description=__doc__)
    parser.add_argument("--video", type=Path, nargs="+", help="default: the drawn sample clip")
    parser.add_argument("--few", type=int, default=2)
    parser.add_argument("--many", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args(arguments)
    videos = options.video or [drawn_clip()]
    infos = [probe(str(video)).video for video in videos]
    seconds = min(info.seconds for info in infos if info) - 0.05
    frames = sum(round(seconds * info.fps) for info in infos if info) * (options.many - options.few)
    clips = len(videos) * (options.many - options.few)
    ours, floor, _ = marginal_pairs(
        "motion",
        "motion",
        ["--preset", "motion", "--only", "flow", "--engine", "inline"],
        videos=videos,
        seconds=seconds,
        few=options.few,
        many=options.many,
        workers=1,
        pairs=options.pairs,
    )
    show(
        f"Motion only: {options.many} copies of {len(videos)} clips less {options.few} copies, {frames:,} frames",
        HEADERS,
        ratio_rows(ours, floor, frames, clips, "1.2"),
    )

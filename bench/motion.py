"""The motion-only pass (preset `motion`: DIS FAST and quality numbers) against a plain loop of DIS FAST."""

from __future__ import annotations

from bench.marginal import HEADERS, lengths, marginal_options, marginal_pairs, ratio_rows
from bench.measure import show


def main(arguments: list[str]) -> None:
    parser = marginal_options("motion", __doc__, pairs=3)
    options = parser.parse_args(arguments)
    videos, seconds, frames, clips = lengths(options)
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

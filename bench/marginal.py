"""What a clip costs beyond start-up: many copies less few, against the floor's same difference."""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from pathlib import Path

from bench.clips import drawn_clip, manifest
from bench.measure import WORK, Cost, command_cost
from wanprep.media.probe import probe


def marginal_options(prog: str, about: str | None, pairs: int) -> argparse.ArgumentParser:
    """The options that these benchmarks share."""
    parser = argparse.ArgumentParser(prog=f"bench {prog}", description=about)
    parser.add_argument("--video", type=Path, nargs="+", help="default: the drawn sample clip")
    parser.add_argument("--few", type=int, default=2)
    parser.add_argument("--many", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=pairs)
    return parser


def lengths(options: argparse.Namespace) -> tuple[list[Path], float, int, int]:
    """The videos, the seconds taken of each, and the frames and clips that `many` copies have beyond `few`."""
    videos = options.video or [drawn_clip()]
    infos = [info for video in videos if (info := probe(str(video)).video)]
    seconds = min(info.seconds for info in infos) - 0.05
    beyond = options.many - options.few
    return videos, seconds, sum(round(seconds * info.fps) for info in infos) * beyond, len(videos) * beyond


def marginal_pairs(
    name: str,
    floor: str,
    options: list[str],
    *,
    videos: list[Path],
    seconds: float,
    few: int,
    many: int,
    workers: int,
    pairs: int,
) -> tuple[list[Cost], list[Cost], Path]:
    """Costs of `many - few` copies of each video, ours and the floor's, measured in turn; and our last store."""
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log = folder / "log.txt"
    lists = {copies: manifest(folder / f"{copies}.csv", videos, copies, seconds) for copies in (few, many)}

    def ours(copies: int, pair: int) -> Cost:
        store = folder / f"store-{pair}-{copies}"
        command = [
            sys.executable,
            "-m",
            "wanprep",
            "run",
            str(lists[copies]),
            "--store",
            str(store),
            *options,
        ]
        return command_cost([*command, "--workers", str(workers)], log)

    def plain(copies: int, pair: int) -> Cost:
        out = str(folder / f"floor-{pair}-{copies}")
        return command_cost(
            [sys.executable, "-m", "bench.floor", floor, str(lists[copies]), out, str(workers)], log
        )

    a, b = [], []
    for pair in range(pairs):
        a.append(ours(many, pair) - ours(few, pair))
        b.append(plain(many, pair) - plain(few, pair))
    return a, b, folder / f"store-{pairs - 1}-{many}"


def ratio_rows(a: list[Cost], b: list[Cost], frames: int, clips: int, bar: str) -> list[list[object]]:
    """Table rows: ours, the floor, and medians of the pairwise ratios."""
    rows: list[list[object]] = []
    for what, costs in (("wanprep", a), ("floor", b)):
        cpu = statistics.median(c.cpu for c in costs)
        wall = statistics.median(c.wall for c in costs)
        rows.append([what, cpu / clips, cpu / frames * 1e3, wall / frames * 1e3, frames / wall, "", ""])
    cpu_ratio = statistics.median(x.cpu / y.cpu for x, y in zip(a, b, strict=True))
    wall_ratio = statistics.median(x.wall / y.wall for x, y in zip(a, b, strict=True))
    rows.append(["ratio, CPU and wall", "", "", "", "", cpu_ratio, wall_ratio])
    rows.append(["bar", "", "", "", "", bar, bar])
    return rows


HEADERS = ["", "CPU s a clip", "CPU ms a frame", "wall ms a frame", "frames/s", "CPU ratio", "wall ratio"]

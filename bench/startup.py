"""Start-up: a job with nothing to do, and a tiny job on Ray against bare Ray with one dataset."""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from pathlib import Path

from bench.clips import drawn_clip
from bench.measure import WORK, Cost, command_cost, show

_BARE_RAY = """
import ray
ray.init(include_dashboard=False, log_to_driver=False, logging_level="error", num_cpus=2)
ray.data.DataContext.get_current().enable_progress_bars = False
class Nothing:
    def __call__(self, batch):
        return batch
print(ray.data.from_items([1]).map_batches(Nothing, compute=ray.data.ActorPoolStrategy(size=1)).take_all())
"""


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench startup", description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args(arguments)
    video = drawn_clip(seconds=0.5)
    folder = WORK / "startup"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log = folder / "log.txt"

    def job(store: Path, engine: str) -> Cost:
        command = [
            sys.executable,
            "-m",
            "wanprep",
            "run",
            str(video),
            "--store",
            str(store),
            "--preset",
            "motion",
        ]
        return command_cost([*command, "--engine", engine, "--workers", "1"], log)

    tiny, bare, nothing, inline = [], [], [], []
    for pair in range(options.pairs):
        tiny.append(job(folder / f"ray-{pair}", "ray"))
        bare.append(command_cost([sys.executable, "-c", _BARE_RAY], log))
        inline.append(job(folder / f"inline-{pair}", "inline"))
        nothing.append(job(folder / f"inline-{pair}", "inline"))
    ratio = statistics.median(a.wall / b.wall for a, b in zip(tiny, bare, strict=True))
    show(
        f"Start-up (medians of {options.pairs})",
        ["whole process", "wall, s", "CPU, s", "ratio", "bar"],
        [
            ["inline, nothing to do", *_median(nothing), "", "3 s"],
            ["inline, 12 frames", *_median(inline), "", "3 s"],
            ["Ray, 12 frames", *_median(tiny), ratio, "1.3"],
            ["floor: bare Ray, one dataset", *_median(bare), 1.0, ""],
        ],
    )
    shutil.rmtree(folder)


def _median(costs: list[Cost]) -> tuple[float, float]:
    return statistics.median(c.wall for c in costs), statistics.median(c.cpu for c in costs)

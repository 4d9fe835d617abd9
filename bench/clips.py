"""Videos to measure with: the project's own drawing, or the user's files; copies under other names and trims."""

from __future__ import annotations

import csv
from pathlib import Path

from bench.measure import WORK
from wanprep.sample.clip import write_sample_clip


def drawn_clip(seconds: float = 5.0) -> Path:
    """The sample clip of this length, drawn once."""
    path = WORK / f"drawn-{seconds:g}s.mp4"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sample_clip(path, seconds=seconds)
    return path


def manifest(path: Path, videos: list[Path], copies: int, seconds: float) -> Path:
    """A manifest that names each video `copies` times, each copy trimmed a little differently so that no two share
    artifacts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "video", "start", "end"])
        for number in range(copies):
            for which, video in enumerate(videos):
                # A hundredth of a frame: another clip to the plan, the same work to every stage.
                writer.writerow(
                    [f"copy-{which}-{number:03d}", str(video.resolve()), 0, seconds + number * 1e-4]
                )
    return path

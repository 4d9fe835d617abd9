"""Memory of a worker against the length of the clip: a loop of one video, minutes long, against seconds of it."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import av

from bench.clips import drawn_clip
from bench.measure import WORK, show


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench memory", description=__doc__)
    parser.add_argument("--video", type=Path, help="default: the drawn sample clip")
    parser.add_argument("--short", type=float, default=10.0, help="seconds")
    parser.add_argument("--long", type=float, default=60.0, help="seconds; 600 for the bar's ten minutes")
    parser.add_argument("--engine", default="inline")
    parser.add_argument("run", nargs=argparse.REMAINDER, help="after --: options of `wanprep run`")
    options = parser.parse_args(arguments)
    given = options.run[1:] if options.run[:1] == ["--"] else options.run
    video = options.video or drawn_clip()
    folder = WORK / "memory"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows, peaks = [], []
    for seconds in (options.short, options.long):
        path = _loop(video, folder / f"loop-{seconds:g}.mp4", seconds)
        store = folder / f"store-{seconds:g}"
        command = [sys.executable, "-m", "wanprep", "run", str(path), "--store", str(store), "--json", *given]
        done = subprocess.run(
            [*command, "--engine", options.engine], stdout=subprocess.PIPE, check=True, text=True
        )
        summary = json.loads(done.stdout)
        peaks.append(summary["worker_peak_bytes"])
        frames = max(stage["frames"] for stage in summary["stages"].values())
        size = sum(f.stat().st_size for f in store.rglob("*") if f.is_file())
        rows.append([f"{seconds:g} s", frames, peaks[-1] / 1e6, summary["seconds"], size / frames / 1e3])
        path.unlink()
    show(
        f"Worker memory against clip length ({video.name}, {' '.join(given) or 'preset features'}, {options.engine})",
        ["clip", "frames", "peak MB", "run s", "kB a frame stored"],
        rows,
        f"ratio {peaks[1] / peaks[0]:.3f} (bar 1.2)",
    )


def _loop(video: Path, path: Path, seconds: float) -> Path:
    """Repeats a video's packets, unchanged, until it is `seconds` long."""
    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        chosen = [source.streams.video[0], *source.streams.audio[:1]]
        streams = {stream.index: target.add_stream_from_template(stream) for stream in chosen}
        length = float(chosen[0].duration * chosen[0].time_base)
        # Sound that outlasts the picture would overlap the next turn.
        packets = [
            p
            for p in source.demux(chosen)
            if p.size and (p.stream is chosen[0] or (p.dts + p.duration) * p.time_base <= length)
        ]
        data = [(p.stream.index, bytes(p), p.pts, p.dts, p.is_keyframe, p.time_base) for p in packets]
        for turn in range(max(1, round(seconds / length))):
            for index, payload, pts, dts, key, base in data:
                shift = round(turn * length / base)
                packet = av.Packet(payload)
                packet.stream, packet.time_base = streams[index], base
                packet.pts, packet.dts, packet.is_keyframe = pts + shift, dts + shift, key
                target.mux(packet)
    return path

"""Model encoders: time against the bare library on the same batch in the same run, and memory against length.

Weights are random and of the real widths; layers are fewer. Times are CPU seconds of one thread, ours and the
library's in turn, so that a busy machine disturbs both alike.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import encoding
from bench.encoding.encoder import Encoder
from bench.measure import WORK, show
from wanprep.models.device import check_extra

_NO_ENCODERS = ("encoder",)


def names() -> list[str]:
    return sorted(
        module.name for module in pkgutil.iter_modules(encoding.__path__) if module.name not in _NO_ENCODERS
    )


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench encoders", description=__doc__)
    parser.add_argument("--only", choices=names(), action="append", help="default: all")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--no-memory", action="store_true", help="leave out the long media")
    parser.add_argument("--child", nargs=2, metavar=("ENCODER", "LENGTH"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        _child(options.child[0], float(options.child[1]))
        return
    if problem := check_extra("torch", "transformers", "diffusers"):
        print(f"encoders: {problem}")
        return
    chosen = options.only or names()
    times, peaks = [], []
    for name in chosen:
        times.append(_times(name, options.repeats))
        if not options.no_memory:
            peaks += _peaks(name)
    show(
        "Encoders against the bare library (one thread, CPU)",
        ["encoder", "batch", "ours s", "bare s", "overhead %"],
        times,
        "bar: overhead at most 3 %",
    )
    if peaks:
        show("Peak memory of a process", ["encoder", "length", "peak MB", "ratio to the shortest"], peaks)


def _encoder(name: str) -> Encoder:
    found: Encoder = importlib.import_module(f"bench.encoding.{name}").ENCODER
    return found


def _folder(name: str) -> Path:
    folder = WORK / "encoders" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _times(name: str, repeats: int) -> list[object]:
    import torch

    torch.set_num_threads(1)
    pair = _encoder(name).pair(_folder(name))
    ours, bare = [], []
    pair.ours()
    pair.bare()
    for turn in range(repeats):
        # Each goes first in every other turn.
        for mine in (True, False) if turn % 2 else (False, True):
            (ours if mine else bare).append(_cpu(pair.ours if mine else pair.bare))
    ratio = statistics.median(o / b for o, b in zip(ours, bare, strict=True))
    return [name, pair.batch, statistics.median(ours), statistics.median(bare), 100 * (ratio - 1)]


def _cpu(function: Callable[[], object]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started


def _peaks(name: str) -> list[list[object]]:
    encoder = _encoder(name)
    rows: list[list[object]] = []
    first = None
    for length in encoder.lengths:
        command = [sys.executable, "-m", "bench", "encoders", "--child", name, str(length)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        peak = json.loads(done.stdout.splitlines()[-1])["peak_bytes"] / 1e6
        first = first or peak
        rows.append([name, f"{length:g} {encoder.unit}", peak, peak / first])
    return rows


def _child(name: str, length: float) -> None:
    """Runs one encoder on media of one length and prints this process's peak memory."""
    import torch

    torch.set_num_threads(1)
    encoder = _encoder(name)
    if encoder.long is None:
        raise SystemExit(f"encoder {name} has no long media")
    encoder.long(_folder(name), length)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"peak_bytes": peak}))

"""Compaction of many small shards against copying the same bytes, and what a reader's first look gains by it."""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import time
from pathlib import Path

import numpy as np

from bench.measure import WORK, seconds, show
from bench.shards import Conditioning
from wanprep.store import layout
from wanprep.store.compact import compact
from wanprep.store.shard import ShardWriter
from wanprep.store.store import Store

_CHUNK = 4 << 20


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench compact", description=__doc__)
    parser.add_argument("--shards", type=int, default=600)
    parser.add_argument("--clips", type=int, default=4, help="of a shard; about 0.37 MB each")
    options = parser.parse_args(arguments)
    folder, copy = WORK / "compact", WORK / "copy.bin"
    shutil.rmtree(folder, ignore_errors=True)
    store = Store.create(str(folder), run="bench")
    for number in range(options.shards):
        _put(store, range(number * options.clips, (number + 1) * options.clips))
    tensors = sorted((folder / "artifacts/conditioning").glob("*.safetensors"))
    nbytes = sum(path.stat().st_size for path in tensors)

    look = seconds(lambda: Store.open(str(folder)).index("conditioning"), repeats=3)
    started = time.perf_counter()
    _copy(tensors, copy)
    floor = time.perf_counter() - started
    copy.unlink()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    done = compact(str(folder), grace_seconds=0)
    took = time.perf_counter() - started
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    look_after = seconds(lambda: Store.open(str(folder)).index("conditioning"), repeats=3)
    show(
        f"Compaction: {options.shards:,} shards of {options.clips} clips, {nbytes / 1e6:.0f} MB of tensors",
        ["", "before, or floor", "after, or ours", "ratio"],
        [
            ["files", done.files_before, done.files_after, done.files_before / done.files_after],
            ["copy (read, write, fsync) against compaction, s", floor, took, took / floor],
            ["MB/s", nbytes / 1e6 / floor, nbytes / 1e6 / took, floor / took],
            [
                "first look of a reader at the stage's keys, ms",
                look * 1e3,
                look_after * 1e3,
                look / look_after,
            ],
        ],
        note=f"memory grew by {grown:.0f} MB at most",
    )
    shutil.rmtree(folder)


def _put(store: Store, numbers: range) -> None:
    keys = [f"{number:032x}" for number in numbers]
    with ShardWriter(
        store.files,
        "conditioning",
        layout.shard_name(keys),
        Conditioning,
        rows=len(keys),
        metadata={"wanprep.spec": "{}"},
    ) as writer:
        for number, key in zip(numbers, keys, strict=True):
            random_source = np.random.default_rng(number)
            record = Conditioning(
                latents_CTHW=random_source.integers(0, 255, (16, 5, 30, 52), np.uint8).astype(np.float16),
                text_TC=random_source.integers(0, 255, (8, 4096), np.uint8).astype(np.float16),
                keypoints_TKC=random_source.random((17, 133, 3), np.float32),
            )
            writer.add(key, str(number), record)
        writer.commit()


def _copy(sources: list[Path], target: Path) -> None:
    with target.open("wb", buffering=0) as out:
        for source in sources:
            with source.open("rb", buffering=0) as file:
                while chunk := file.read(_CHUNK):
                    out.write(chunk)
        os.fsync(out.fileno())
